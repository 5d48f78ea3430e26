//! Which node a request is meant for that another one sends on, and whose the answer is.
//!
//! A node says itself where the others reach it (`[node] advertise`), and may be wrong: the address of another node, of a balancer before
//! all of them, of something else. So whoever sends a request on says whom it means, whoever is not meant refuses it before anything is
//! done, and whoever is says so with its answer, whatever that is. Nothing is told to strangers that they did not know.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sortie_engine::fleet::Member;

use super::App;
use super::error::Problem;

/// Which node is meant: by what the store knows it by.
pub(crate) const MEANT: HeaderName = HeaderName::from_static("sortie-meant");

/// The same, said by the one that is.
pub(crate) const FROM: HeaderName = HeaderName::from_static("sortie-node");

/// Whether an answer is that node's. One of a version that does not say so is believed.
pub(super) fn is_from(headers: &HeaderMap, member: &Member) -> bool {
    !member.card.is_named_in_answers || headers.get(FROM).is_some_and(|from| from.as_bytes() == member.node.as_bytes())
}

/// Refuses what is meant for another node, before anybody looks at who asks.
pub(super) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let Some(meant) = request.headers_mut().remove(MEANT) else { return next.run(request).await };
    if app.called.node.as_deref().is_none_or(|node| meant.as_bytes() != node.as_bytes()) {
        let detail = "this request is meant for another node: the `[node] advertise` of that one reaches this one";
        return Problem::unavailable("holder_unreachable", detail).into_response();
    }
    let mut response = next.run(request).await;
    response.headers_mut().insert(FROM, meant);
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sortie_contract::Timestamp;
    use sortie_engine::fleet::Card;
    use sortie_journal::ShareNo;

    use super::*;

    #[test]
    fn an_answer_is_whose_it_says_it_is() {
        let member = |is_named_in_answers| Member {
            share: ShareNo(1),
            node: "abc".to_owned(),
            name: "b".to_owned(),
            card: Card { is_named_in_answers, ..Card::default() },
            since: Timestamp::UNIX_EPOCH,
            lease_left: Duration::ZERO,
            is_me: false,
        };
        let said = |node: &str| [(FROM, node.parse().expect("a value"))].into_iter().collect::<HeaderMap>();
        for (headers, expected) in [(said("abc"), true), (said("abd"), false), (HeaderMap::new(), false)] {
            assert_eq!(is_from(&headers, &member(true)), expected, "{headers:?}");
            assert!(is_from(&headers, &member(false)), "of the version before");
        }
    }
}
