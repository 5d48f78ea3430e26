//! What is done to plugins by forms: one is installed from a file, a version is removed.

use std::time::Duration;

use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{Method, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use multer::{Constraints, Field, Multipart, SizeLimit};
use serde_json::Value;
use sortie_sandbox::PLUGIN_BYTES_MAX;

use super::Web;
use super::door::{self, FORM_KEY, Posted, Viewer};
use super::frame::{Refused, decides_nothing, form_key};
use super::session::Notice;
use super::text::{plain, str};
use crate::config::Scope;
use crate::mcp::Ask;

/// The field with the file.
const FILE: &str = "component";

/// How long what stands before the file may take to arrive.
const FIRST_TIME: Duration = Duration::from_secs(30);

/// The forms below the list, for who may use them.
pub(super) fn forms(viewer: &Viewer, plugins: &[Value]) -> Markup {
    html! {
        @if viewer.holder.may(Scope::Admin) {
            section aria-labelledby="install" {
                h2 id="install" { "Install" }
                form method="post" action="/plugins" enctype="multipart/form-data" class="decide" {
                    // First: what comes behind it is read only where it is right.
                    (form_key(viewer)) (decides_nothing())
                    label for="component" { "A plugin's file, such as " code { "greeter.wasm" } ": what " code { "sortie plugin build" } " makes" }
                    input id="component" name=(FILE) type="file" accept=".wasm,application/wasm" required;
                    button type="submit" class="primary" { "Install" }
                }
                p class="dim" { "It is checked first, and does nothing by itself. New missions that name no version run on the newest; those that have begun stay on theirs." }
            }
            @if !plugins.is_empty() {
                section aria-labelledby="remove" {
                    h2 id="remove" { "Remove" }
                    form method="post" action="/plugins/remove" class="decide" {
                        (form_key(viewer)) (decides_nothing())
                        label for="plugin" { "A version" }
                        select id="plugin" name="plugin" required {
                            option value="" { "choose one" }
                            @for plugin in plugins {
                                @let named = format!("{}@{}", str(plugin, "name"), str(plugin, "version"));
                                option value=(named) { (plain(&named)) }
                            }
                        }
                        button type="submit" name="decision" value="remove" class="danger" { "Remove" }
                    }
                    p class="dim" { "No new mission begins on it. What missions have that are not over is not removed (`sortie plugin rm --force` does)." }
                }
            }
        }
    }
}

/// `POST /plugins`: what comes is handed on as it comes.
pub(super) async fn install(State(web): State<Web>, request: Request) -> Result<Response, Refused> {
    let (mut parts, sent) = request.into_parts();
    let viewer = Viewer::from_request_parts(&mut parts, &web).await?;
    if !door::is_ours(&parts.headers, &parts.uri) {
        return Err(Refused::forged(Some(&viewer)));
    }
    let refused = |why: &str| Refused::bad(why).seen_by(&viewer);
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(kind).map_err(|_| refused("What was sent is no form of this page."))?;
    // The interface bounds the file itself, and says so.
    let sizes = SizeLimit::new().for_field(FORM_KEY, 1_000).whole_stream(PLUGIN_BYTES_MAX as u64 + 100_000);
    let constraints = Constraints::new().allowed_fields(vec![FORM_KEY, FILE]).size_limit(sizes);
    let mut form = Multipart::with_constraints(sent.into_data_stream(), boundary, constraints);
    let file = tokio::time::timeout(FIRST_TIME, file(&mut form, &viewer)).await;
    let file = file.map_err(|_| refused("The file does not arrive."))??;
    match web.hand_in(&viewer, &["v1", "plugins"], axum::body::Body::from_stream(file)).await {
        Ok(plugin) => {
            let (name, version) = (str(&plugin, "name"), str(&plugin, "version"));
            web.sessions
                .tell(viewer.key, Notice { is_bad: false, lines: vec![format!("{name}@{version} is installed.")] });
        }
        Err(refused) if refused.status() == axum::http::StatusCode::FORBIDDEN => return Err(refused),
        Err(refused) => web.sessions.tell(viewer.key, refused.about("The plugin")),
    }
    Ok(Redirect::to("/plugins").into_response())
}

/// The field with the file, behind the key of the form.
async fn file(form: &mut Multipart<'static>, viewer: &Viewer) -> Result<Field<'static>, Refused> {
    let broken = |error: multer::Error| {
        Refused::bad(&format!("What was sent is no form of this page: {error}.")).seen_by(viewer)
    };
    let key = match form.next_field().await.map_err(broken)? {
        Some(field) if field.name() == Some(FORM_KEY) => field.text().await.map_err(broken)?,
        _ => String::new(),
    };
    if !viewer.has_form_key(&key) {
        return Err(Refused::forged(Some(viewer)));
    }
    match form.next_field().await.map_err(broken)? {
        Some(field) if field.name() == Some(FILE) && field.file_name().is_some_and(|name| !name.is_empty()) => {
            Ok(field)
        }
        _ => Err(Refused::bad("Choose the file of a plugin.").seen_by(viewer)),
    }
}

/// `POST /plugins/remove`
pub(super) async fn remove(State(web): State<Web>, posted: Posted) -> Result<Response, Refused> {
    let Posted { viewer, fields } = posted;
    let named = fields.text("plugin");
    let (Some((name, version)), "remove") = (named.split_once('@'), fields.text("decision")) else {
        return Err(Refused::bad("Choose the version of a plugin that is to be removed.").seen_by(&viewer));
    };
    let ask = Ask::new(Method::DELETE, ["v1", "plugins", name]).with_query("version", version);
    let notice = match web.ask(&viewer, ask).await {
        Ok(_) => Notice { is_bad: false, lines: vec![format!("{named} is removed.")] },
        Err(refused) if refused.is_late() || refused.is_unsure() => refused.about(named),
        Err(refused) => return Err(refused),
    };
    web.sessions.tell(viewer.key, notice);
    Ok(Redirect::to("/plugins").into_response())
}
