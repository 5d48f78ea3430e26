//! One round of a call, with a minute of retries: what each outcome means, and how long to wait.
//!
//! | outcome | then |
//! | --- | --- |
//! | 429, 502, 503, 529, no connection, one that breaks before an answer | again; still so after a minute, or to wait for longer than that: a hold |
//! | 408, 500, 504, 520 to 524 | again; still so after a minute: failed, for it may be about this request |
//! | 401, 403; no credit; every other status | failed at once |
//! | an answer that is cut, or makes no sense | failed at once, and counts as quoted: the provider will have billed it |
//! | no end of an answer in time | timed out, and counts as quoted |
//!
//! Where a provider may have done the work and billed it (408, 500, 504, 520 to 524, a connection that breaks before an answer), the attempt
//! counts as the most that it can have cost, and there is another one only as long as what was set aside covers it.

use std::time::Duration;

use sortie_ambient::Surroundings;
use sortie_contract::tool::CallError;

use crate::line::{Broken, Reply};
use crate::models::Hold;
use crate::price::Fine;
use crate::protocol::{Count, Round, Turn, complaint, error_names};
use crate::provider::Sender;
use crate::setup::Model;

/// How long a call is retried by itself: longer waits are its caller's.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// Most attempts of one round: full jitter may be short many times over.
const ATTEMPTS_MAX: u32 = 12;

/// The longest wait after the first failure; it doubles.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// The longest wait that no provider asked for.
const BACKOFF_MAX: Duration = Duration::from_secs(16);

/// Errors that say that the account is empty, under a status that says "later".
const NO_CREDIT: [&str; 3] = ["insufficient_quota", "billing_error", "billing_hard_limit_reached"];

/// Why a round brought nothing.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) error: CallError,
    /// What the last attempt did cost.
    pub(crate) cost: Cost,
    /// The most that those before it can have cost.
    pub(crate) lost: Fine,
    pub(crate) hold: Option<Hold>,
}

/// What a round may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purse {
    /// One attempt, at most.
    pub(crate) each: Fine,
    /// All of them together.
    pub(crate) all: Fine,
}

/// So many times a provider's word alone says how long.
const BELIEVED: u32 = 2;

/// What a round that failed did cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    /// Nothing: nobody was asked, or not yet.
    NotAsked,
    /// Nothing: the provider refused.
    Refused,
    /// This was counted.
    Counted(Count),
    /// Nobody knows.
    Unknown,
}

/// What one attempt came to.
enum Outcome {
    Turn(Turn),
    Never(Trouble),
    Later { why: String, wait: Option<Duration>, is_about_provider: bool, may_have_cost: bool },
}

/// Makes a round: what it brought, and the most that attempts can have cost which brought nothing.
pub(crate) async fn round(
    model: &Model,
    round: &Round<'_>,
    sender: Sender<'_>,
    mark: &str,
    purse: Purse,
    ambient: &Surroundings,
) -> Result<(Turn, Fine), Trouble> {
    let (mut attempts, mut since, mut lost) = (0_u32, None, Fine::default());
    loop {
        let asked = ambient.timeout(model.timeout, model.provider.ask(round, sender)).await;
        let (why, wait, is_about_provider) = match outcome(model, asked, round, mark) {
            Outcome::Turn(turn) => return Ok((turn, lost)),
            Outcome::Never(trouble) => return Err(Trouble { lost, ..trouble }),
            Outcome::Later { why, wait, is_about_provider, may_have_cost } => {
                if may_have_cost {
                    lost = lost.and(purse.each);
                    if lost.and(purse.each) > purse.all {
                        let why =
                            format!("{why}; it may have been billed, and no more is set aside for another attempt");
                        return Err(given_up(why, wait, is_about_provider, lost, ambient));
                    }
                }
                (why, wait, is_about_provider)
            }
        };
        attempts += 1;
        let now = ambient.steady();
        let since = *since.get_or_insert(now);
        let pause = pause(attempts, wait, ambient.chance());
        if attempts >= ATTEMPTS_MAX || (now - since).saturating_add(pause) > RETRY_FOR {
            return Err(given_up(why, wait, is_about_provider, lost, ambient));
        }
        tracing::debug!(model = %model.info.name, attempts, ?pause, "a model's provider is asked again: {why}");
        ambient.sleep(pause).await;
    }
}

/// Full jitter, or what the provider asks for with a little jitter on top: not everybody at once.
fn pause(attempts: u32, wait: Option<Duration>, chance: f64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    let own = BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX).mul_f64(chance);
    match wait {
        // One that says "at once" again and again is not back.
        Some(wait) if attempts > BELIEVED => wait.saturating_add(BACKOFF_FIRST.mul_f64(chance)).max(own),
        Some(wait) => wait.saturating_add(BACKOFF_FIRST.mul_f64(chance)),
        None => own,
    }
}

fn given_up(
    why: String,
    wait: Option<Duration>,
    is_about_provider: bool,
    lost: Fine,
    ambient: &Surroundings,
) -> Trouble {
    let hold = is_about_provider.then(|| {
        let until = wait.and_then(|wait| ambient.wall().checked_add(wait).ok());
        Hold { until, why: why.clone() }
    });
    // A call that is held has not been made.
    let cost = if hold.is_some() { Cost::NotAsked } else { Cost::Refused };
    Trouble { error: CallError::Failed(why), cost, lost, hold }
}

fn outcome(model: &Model, asked: Option<Result<Reply, Broken>>, round: &Round<'_>, mark: &str) -> Outcome {
    let name = &model.info.name;
    let never = |error, cost| Outcome::Never(Trouble { error, cost, lost: Fine::default(), hold: None });
    let failed = |why: String, cost| never(CallError::Failed(why), cost);
    let later = |why: String, may_have_cost| Outcome::Later { why, wait: None, is_about_provider: true, may_have_cost };
    let reply = match asked {
        Some(Ok(reply)) => reply,
        None => {
            let why = format!("[model.{name}] did not answer within {:?}", model.timeout);
            return never(CallError::TimedOut(why), Cost::Unknown);
        }
        Some(Err(Broken::NotAsked(why))) => {
            return failed(format!("[model.{name}] cannot be asked: {why}"), Cost::NotAsked);
        }
        Some(Err(Broken::AtHome { why, host })) => {
            tracing::warn!(model = %name, "a model cannot be asked: {why}: {host}");
            return failed(format!("[model.{name}] cannot be asked: {why} (the node's log says more)"), Cost::NotAsked);
        }
        Some(Err(Broken::NotReached(why))) => return later(format!("[model.{name}] cannot be reached: {why}"), false),
        Some(Err(Broken::NoAnswer(why))) => return later(format!("[model.{name}] gave no answer: {why}"), true),
        Some(Err(Broken::Cut(why))) => {
            let why = format!("the answer of [model.{name}] was cut: {why}; what it did cost nobody knows");
            return failed(why, Cost::Unknown);
        }
    };
    if (200..300).contains(&reply.status) {
        return match model.provider.read(&reply.body, round, mark) {
            Ok(turn) => Outcome::Turn(turn),
            Err(unreadable) => {
                let cost = unreadable.usage.map_or(Cost::Unknown, Cost::Counted);
                failed(format!("the answer of [model.{name}] makes no sense: {}", unreadable.why), cost)
            }
        };
    }
    refused(model, &reply)
}

fn refused(model: &Model, reply: &Reply) -> Outcome {
    let name = &model.info.name;
    let failed = |why: String| {
        let (error, lost) = (CallError::Failed(why), Fine::default());
        Outcome::Never(Trouble { error, cost: Cost::Refused, lost, hold: None })
    };
    let said = complaint(&reply.body);
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    let status = reply.status;
    if error_names(&reply.body).iter().any(|name| NO_CREDIT.contains(&name.as_str())) {
        return failed(format!("the account of [model.{name}] has no credit left ({status}){said}"));
    }
    let later = |what: &str, is_about_provider| Outcome::Later {
        why: format!("[model.{name}] {what} ({status}){said}"),
        wait: reply.wait,
        is_about_provider,
        // The work may have been done, and its end lost on the way.
        may_have_cost: !is_about_provider,
    };
    match status {
        401 | 403 => failed(format!("the key of [model.{name}] is refused ({status}){said}")),
        429 => later("is at its provider's limit", true),
        529 => later("is overloaded", true),
        502 | 503 => later("is out", true),
        408 | 500 | 504 | 520..=524 => later("failed at its provider", false),
        300..=399 => failed(format!(
            "[model.{name}] answers with a redirect ({status}), which is not followed: mend its base_url"
        )),
        404 => {
            failed(format!("[model.{name}] is not found at its provider ({status}): check base_url and model{said}"))
        }
        _ => failed(format!("[model.{name}] refuses the request ({status}){said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_keep_to_what_was_asked_for() {
        let almost_one = 1.0 - f64::EPSILON;
        for (attempts, wait, chance, expected) in [
            (1, None, almost_one, 1_000),
            (2, None, almost_one, 2_000),
            (5, None, almost_one, 16_000),
            (u32::MAX, None, almost_one, 16_000),
            (5, None, 0.0, 0),
            (1, Some(7_000), 0.0, 7_000),
            (2, Some(7_000), 0.5, 7_500),
            (9, Some(0), almost_one, 16_000),
        ] {
            let pause = pause(attempts, wait.map(Duration::from_millis), chance);
            assert!(
                pause.abs_diff(Duration::from_millis(expected)) < Duration::from_millis(1),
                "{attempts}: {pause:?}"
            );
        }
    }
}
