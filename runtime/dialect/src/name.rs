//! What missions of the older dialects are called, and where the results of jobs go.

use sha1::{Digest as _, Sha1};
use sortie_contract::{MissionId, limit};
use url::Url;

/// What the names of missions begin with that come over HTTP.
const OF_DISPATCH: &str = "vp-mission-";

/// What the names of missions begin with that come over Redis.
const OF_JOB: &str = "bridge-";

/// So many hexadecimal digits of the digest there are in a name.
const DIGITS: usize = 24;

/// The host that stands for the bridge in a callback. No name of that kind is ever resolved (RFC 6761), so that a node without a bridge
/// sends its results to nobody.
const BRIDGE: &str = "redis.dialect.invalid";

/// The path there.
const RESULTS: &str = "/results";

/// The name of the mission of an old dispatch over HTTP, as the control plane reckons it too: the same for the same VP and key.
#[must_use]
pub fn mission_of_dispatch(vp_id: &str, idempotency_key: &str) -> String {
    format!("{OF_DISPATCH}{}", digits(&format!("{vp_id}:{idempotency_key}")))
}

/// The name of the mission of a job, as the control plane's own bridge has it. A job whose name cannot be part of one is told by its digest.
#[must_use]
pub fn mission_of_job(job_id: &str) -> String {
    let plain = format!("{OF_JOB}{job_id}");
    // A name with a colon stands for a job by its digest: none that stands for itself may look like one.
    if plain.len() <= limit::ID_BYTES_MAX && !job_id.contains(':') && plain.parse::<MissionId>().is_ok() {
        plain
    } else {
        format!("{OF_JOB}:{}", digits(job_id))
    }
}

/// Where the events of a job's mission go: to the bridge of whichever node has it.
#[must_use]
pub fn result_url(job_id: &str) -> String {
    let job = url::form_urlencoded::byte_serialize(job_id.as_bytes());
    job.fold(format!("https://{BRIDGE}{RESULTS}?job="), |url, part| url + part)
}

/// The job whose result goes to that address; nothing, where it is no bridge's.
#[must_use]
pub fn job_of(url: &Url) -> Option<String> {
    if !is_bridge(url) || url.scheme() != "https" || url.path() != RESULTS {
        return None;
    }
    let mut named = url.query_pairs();
    match (named.next(), named.next()) {
        (Some((key, job)), None) if key == "job" => Some(job.into_owned()),
        _ => None,
    }
}

/// Whether that host stands for the bridge.
#[must_use]
pub fn is_bridge(url: &Url) -> bool {
    url.host_str() == Some(BRIDGE)
}

fn digits(text: &str) -> String {
    let digest = Sha1::digest(text.as_bytes());
    digest
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .take(DIGITS)
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_that_the_control_plane_reckons() {
        // `printf 'vp.coder.primary:k-1' | sha1sum`
        assert_eq!(mission_of_dispatch("vp.coder.primary", "k-1"), "vp-mission-be7eb1665ec623331d59cc50");
        assert_eq!(mission_of_job("test-job-001"), "bridge-test-job-001");
    }

    proptest! {
        #[test]
        fn every_job_has_a_mission_of_its_own_and_is_found_at_its_address(job in ".{1,300}", other in ".{1,300}") {
            let name = mission_of_job(&job);
            prop_assert!(name.parse::<MissionId>().is_ok(), "{name}");
            prop_assert_eq!(job == other, name == mission_of_job(&other));
            let url: Url = result_url(&job).parse().expect("an address");
            prop_assert_eq!(job_of(&url), Some(job));
        }
    }

    #[test]
    fn other_addresses_are_nobodys_job() {
        for url in [
            "https://hq.example/results?job=a",
            "http://redis.dialect.invalid/results?job=a",
            "https://redis.dialect.invalid/results",
            "https://redis.dialect.invalid/results?job=a&job=b",
            "https://redis.dialect.invalid/results?a=job",
            "https://redis.dialect.invalid/results/artifacts/b?job=a",
            "https://redis.dialect.invalid/",
        ] {
            assert_eq!(job_of(&url.parse().expect("an address")), None, "{url}");
        }
    }
}
