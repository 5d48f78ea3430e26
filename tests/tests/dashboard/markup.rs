//! What a page may be made of: the elements and attributes of its templates, whatever missions say.

use std::collections::BTreeSet;

use dom_query::{Document, NodeRef};

/// Elements that templates have.
const ELEMENTS: &[&str] = &[
    "a",
    "article",
    "b",
    "blockquote",
    "body",
    "br",
    "button",
    "caption",
    "code",
    "dd",
    "defs",
    "del",
    "details",
    "div",
    "dl",
    "dt",
    "em",
    "fieldset",
    "form",
    "g",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "img",
    "input",
    "label",
    "legend",
    "li",
    "line",
    "link",
    "main",
    "meta",
    "nav",
    "ol",
    "option",
    "p",
    "path",
    "pattern",
    "pre",
    "rect",
    "script",
    "section",
    "select",
    "span",
    "strong",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "text",
    "textarea",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "ul",
];

/// Attributes that templates have. Nothing of a mission is the name of one.
const ATTRIBUTES: &[&str] = &[
    "accept",
    "action",
    "alt",
    "aria-current",
    "aria-describedby",
    "aria-hidden",
    "aria-invalid",
    "aria-label",
    "aria-labelledby",
    "aria-live",
    "autocomplete",
    "autofocus",
    "charset",
    "checked",
    "class",
    "content",
    "d",
    "data-label",
    "datetime",
    "defer",
    "disabled",
    "download",
    "enctype",
    "fill",
    "for",
    "form",
    "formnovalidate",
    "height",
    "hidden",
    "href",
    "hx-ext",
    "hx-get",
    "hx-preserve",
    "hx-select",
    "hx-swap",
    "hx-target",
    "hx-trigger",
    "id",
    "inputmode",
    "lang",
    "loading",
    "max",
    "maxlength",
    "method",
    "min",
    "minlength",
    "multiple",
    "name",
    "pattern",
    "patternUnits",
    "placeholder",
    "preserveAspectRatio",
    "rel",
    "required",
    "role",
    "rows",
    "rx",
    "scope",
    "selected",
    "spellcheck",
    "src",
    "sse-close",
    "sse-connect",
    "start",
    "step",
    "tabindex",
    "text-anchor",
    "title",
    "type",
    "value",
    "viewBox",
    "width",
    "x",
    "x1",
    "x2",
    "y",
    "y1",
    "y2",
];

/// Attributes that lead somewhere.
const ADDRESSES: &[&str] = &["action", "formaction", "href", "src", "hx-get", "sse-connect"];

/// Holds that nothing of a page was made by anything but its templates, and that nothing in it runs or is styled by itself.
pub(crate) fn is_ours(path: &str, page: &Document) {
    for node in page.root().descendants().iter().filter(|node| node.is_element()) {
        let name = node.node_name().expect("an element has a name").to_string();
        assert!(ELEMENTS.contains(&name.as_str()), "{path}: an element <{name}>");
        for attribute in node.attrs() {
            let (key, value) = (attribute.name.local.to_string(), attribute.value.to_string());
            assert!(ATTRIBUTES.contains(&key.as_str()), "{path}: <{name} {key}=\"{value}\">");
            if ADDRESSES.contains(&key.as_str()) {
                let own = value.starts_with('#') || (value.starts_with('/') && !value.starts_with("//"));
                let own = own || is_foreign_and_marked(node, &value);
                assert!(own && !value.contains('\\'), "{path}: <{name} {key}=\"{value}\"> leads elsewhere");
            }
        }
        if name == "script" {
            assert!(node.attr("src").is_some() && node.text().trim().is_empty(), "{path}: a script on the page");
        }
    }
}

/// Whether that is a link of a mission's Markdown to the web, marked as one.
fn is_foreign_and_marked(node: &NodeRef<'_>, address: &str) -> bool {
    let is_web = ["http://", "https://", "mailto:"].iter().any(|scheme| address.starts_with(scheme));
    is_web
        && node.node_name().is_some_and(|name| &*name == "a")
        && node.attr("rel").as_deref() == Some("noopener noreferrer nofollow")
}

/// Holds what everybody needs who does not see a page, or has no mouse: one main part and one first heading, names for all that is
/// filled in, no heading that is left out, no name twice.
pub(crate) fn is_readable(path: &str, page: &Document) {
    assert_eq!(page.select("html[lang]").nodes().len(), 1, "{path}: a language");
    assert_eq!(page.select("main#main").nodes().len(), 1, "{path}: one main part");
    assert_eq!(page.select("h1").nodes().len(), 1, "{path}: one first heading");
    assert!(page.select("a.skip[href='#main']").exists(), "{path}: a way past the navigation");
    assert!(!page.select("title").text().trim().is_empty(), "{path}: a title");
    let mut level = 1;
    for heading in page.select("main h1, main h2, main h3").nodes() {
        let name = heading.node_name().expect("an element has a name");
        let next: u32 = name[1..].parse().expect("a level");
        assert!(next <= level + 1, "{path}: <{name}> under a heading of level {level}");
        level = next;
    }
    let mut ids = BTreeSet::new();
    for node in page.select("[id]").nodes() {
        let id = node.attr("id").expect("it was selected by it").to_string();
        assert!(!id.is_empty() && ids.insert(id.clone()), "{path}: `{id}` twice");
    }
    for field in page.select("input, select, textarea").nodes() {
        if field.attr("type").is_some_and(|kind| &*kind == "hidden") {
            continue;
        }
        let labelled = field.attr("id").is_some_and(|id| {
            page.select("label[for]").nodes().iter().any(|label| label.attr("for").as_deref() == Some(&*id))
        });
        assert!(labelled || field.attr("aria-label").is_some(), "{path}: a field without a name: {}", field.html());
    }
    for node in page.select("[aria-labelledby], [aria-describedby]").nodes() {
        for key in ["aria-labelledby", "aria-describedby"] {
            let named = node.attr(key);
            assert!(named.is_none_or(|id| ids.contains(&*id)), "{path}: {key} names nothing: {}", node.html());
        }
    }
    for button in page.select("button, a, th[scope], summary").nodes() {
        assert!(
            !button.text().trim().is_empty() || button.attr("aria-label").is_some(),
            "{path}: no words: {}",
            button.html()
        );
    }
}
