//! Which configurations are taken, and what is said of others.

use std::sync::Arc;

use serde::Deserialize;
use sortie_ambient::System;

use super::*;

#[derive(Deserialize)]
struct File {
    model: ModelsConfig,
}

fn setup(text: &str) -> Result<BTreeMap<String, Model>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ambient: Surroundings = Arc::new(System::new(runtime.handle().clone()));
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.json"), r#"{"answers": []}"#).unwrap();
    std::fs::write(folder.path().join("bad.json"), "{\"answers\": [\n}").unwrap();
    models(&file.model, folder.path(), &ambient).map_err(|error| error.to_string())
}

const PRICES: &str = "price_usd_per_mtok = { input = 3, output = 15.5, cached_input = 0.3 }";

#[test]
fn a_section_as_it_is_documented_is_understood() {
    let models = setup(&format!(
        r#"
        [model]
        default = "deep"
        hold_max = "2h"
        [model.deep]
        protocol = "anthropic"
        model = "claude"
        key = "env://KEY"
        thinking = "budget"
        context = 200000
        timeout = "5m"
        {PRICES}
        [model.local]
        protocol = "openai"
        base_url = "http://127.0.0.1:8080/v1/"
        allow_private = ["127.0.0.1"]
        model = "llama"
        free = true
        max_output_tokens = 100
        images = false
        schemas = false
        [model.played]
        protocol = "scripted"
        file = "good.json"
        {PRICES}
        "#
    ))
    .unwrap();
    let names: Vec<&str> = models.keys().map(String::as_str).collect();
    assert_eq!(names, ["deep", "local", "played"]);
    let (deep, local, played) = (&models["deep"], &models["local"], &models["played"]);
    assert!(deep.info.is_default && !local.info.is_default && !played.info.is_default);
    assert_eq!((deep.info.context_tokens, deep.timeout), (Some(200_000), Duration::from_secs(300)));
    assert_eq!((deep.info.prices.output, local.info.prices.output), (15.5, 0.0));
    assert!(deep.info.takes_images && !deep.info.takes_schemas, "defaults of the protocol");
    assert!(!local.info.takes_images && local.info.takes_tools);
    assert_eq!(
        (played.info.model.as_str(), played.info.max_output_tokens, local.info.max_output_tokens),
        ("played", 8_192, 100)
    );
    let Provider::OpenAi { line, .. } = &local.provider else { panic!("a protocol of its own") };
    assert_eq!(line.base.as_str(), "http://127.0.0.1:8080/v1");
    assert!(matches!(&deep.provider, Provider::Anthropic { thinking: Thinking::Budget, .. }));
}

#[test]
fn the_only_model_is_the_default_one_and_of_two_neither() {
    let one = |name: &str| format!("[model.{name}]\nprotocol = \"openai\"\nmodel = \"x\"\nfree = true\n");
    assert!(setup(&one("a")).unwrap()["a"].info.is_default);
    assert!(setup(&(one("a") + &one("b"))).unwrap().values().all(|model| !model.info.is_default));
    assert!(setup("[model]").unwrap().is_empty());
}

#[test]
fn mistakes_are_refused_and_named() {
    let openai = |rest: &str| format!("[model.m]\nprotocol = \"openai\"\nmodel = \"x\"\n{rest}\n");
    let free = |rest: &str| openai(&format!("free = true\n{rest}"));
    let script = |rest: &str| format!("[model.m]\nprotocol = \"scripted\"\nfree = true\n{rest}\n");
    for (text, told) in [
        // The section itself.
        ("[model]\ndefault = \"x\"".to_owned(), "model.default: there is no [model.x]; there is none"),
        ("[model]\ndefualt = \"x\"".to_owned(), "the keys of [model] itself are `default` and `hold_max`"),
        ("[model]\nhold_max = 6".to_owned(), "hold_max"),
        ("[model]\nhold_max = \"soon\"".to_owned(), "must be a duration"),
        ("model = 3".to_owned(), "a table of models"),
        // Keys and their types.
        (free("modle = \"x\""), "unknown field `modle`"),
        ("[model.m]\nmodel = \"x\"".to_owned(), "missing field `protocol`"),
        ("[model.m]\nprotocol = \"gemini\"".to_owned(), "unknown variant `gemini`"),
        (free("timeout = \"0s\""), "model.m.timeout: must be more than zero"),
        (free("max_output_tokens = 0"), "model.m.max_output_tokens: must be more than zero"),
        (free("max_output_tokens = -1"), "max_output_tokens"),
        (free("context = 0"), "model.m.context: must be more than zero"),
        ("[model.m]\nprotocol = \"openai\"\nfree = true".to_owned(), "model.m.model: must be there"),
        ("[model.\"a b\"]\nprotocol = \"openai\"\nmodel = \"x\"\nfree = true".to_owned(), "no white space"),
        // Money.
        (openai(""), "model.m.price_usd_per_mtok: must be there, such as { input = 3"),
        (free(PRICES), "model.m.free: stands beside price_usd_per_mtok"),
        (openai("price_usd_per_mtok = { input = 1 }"), "missing field `output`"),
        (openai("price_usd_per_mtok = { input = 1, output = 2, cached = 3 }"), "unknown field `cached`"),
        (
            openai("price_usd_per_mtok = { input = -1, output = 2 }"),
            "model.m.price_usd_per_mtok: a price is a number of US dollars",
        ),
        (openai("price_usd_per_mtok = { input = 0.0000001, output = 2 }"), "at most six digits"),
        (free("tokenizer = \"o200k\""), "model.m.tokenizer: this version counts \"bytes\""),
        // Where it goes.
        (free("base_url = \"api.example.org\""), "model.m.base_url: must be an address"),
        (free("base_url = \"ftp://example.org\""), "model.m.base_url: must begin with https://"),
        (free("base_url = \"https://u:secret@example.org\""), "model.m.base_url: must not hold credentials"),
        (free("base_url = \"https://example.org/v1?key=secret\""), "model.m.base_url: must end with its path"),
        (free("base_url = \"http://127.0.0.1:8080/v1\""), "model.m.base_url: 127.0.0.1 leads to a private"),
        (free("base_url = \"http://localhost/v1\""), "private, local or reserved address"),
        (free("allow_private = [\"localhost\"]"), "model.m.allow_private: `localhost`"),
        (
            free("base_url = \"http://example.org\"\nkey = \"env://KEY\""),
            "model.m.base_url: the key would travel in the clear",
        ),
        (free("base_url = \"http://1.1.1.1\"\nkey = \"env://KEY\"\nallow_private = [\"10.0.0.1\"]"), "in the clear"),
        (free("key = \"sk-secret\""), "model.m.key: must be a reference to the key"),
        // Keys of others.
        (free("file = \"good.json\""), "model.m.file: is a key of the protocol scripted only"),
        (free("thinking = \"budget\""), "model.m.thinking: is a key of the protocol anthropic only"),
        (
            script("file = \"good.json\"\nbase_url = \"https://example.org\""),
            "model.m.base_url: is a key of the protocol openai and anthropic only",
        ),
        (
            script("file = \"good.json\"\nmax_tokens_key = \"max_tokens\""),
            "model.m.max_tokens_key: is a key of the protocol openai only",
        ),
        // Scripts.
        (script(""), "model.m.file: must be there"),
        (script("file = \"none.json\""), "none.json cannot be read"),
        (script("file = \"bad.json\""), "line 2"),
    ] {
        let Err(error) = setup(&text) else { panic!("{text} is taken") };
        assert!(error.contains(told), "{text}: {error}");
        assert!(!error.contains("secret"), "{text}: {error}");
    }
}

#[test]
fn a_key_goes_in_the_clear_only_where_the_operator_says_that_it_is_inside() {
    for (base_url, allow_private) in [
        ("http://10.1.2.3:8080/v1", "[\"10.0.0.0/8\"]"),
        ("http://llm.internal/v1", "[\"10.0.0.0/8\"]"),
        ("http://localhost:1234/v1", "[\"127.0.0.1\"]"),
        ("https://example.org/v1", "[]"),
    ] {
        let text = format!(
            "[model.m]\nprotocol = \"openai\"\nmodel = \"x\"\nfree = true\nkey = \"file:///run/key\"\nbase_url = \"{base_url}\"\n\
             allow_private = {allow_private}\n"
        );
        assert!(setup(&text).is_ok(), "{base_url}: {:?}", setup(&text).err());
    }
}

#[test]
fn what_the_bound_of_an_answer_is_called_depends_on_the_server() {
    for (base, expected) in [
        ("https://api.openai.com/v1", MaxTokensKey::MaxCompletionTokens),
        ("https://x.openai.azure.com/v1", MaxTokensKey::MaxCompletionTokens),
        ("http://127.0.0.1:8080/v1", MaxTokensKey::MaxTokens),
        ("https://api.openai.com.evil.example/v1", MaxTokensKey::MaxTokens),
    ] {
        assert_eq!(likely_key(&base.parse().unwrap()), expected, "{base}");
    }
}
