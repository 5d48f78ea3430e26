//! A node beside a control plane that trusts nobody (`examples/control-plane`): what it hears, in bad weather and over a kill in the
//! middle, is what the contract promises, in the eyes of a program that shares no code with the runtime.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use sortie_control_plane::{Fleet, Ledger, Night, Receiver, Weather, until_closed};
use sortie_tests::{Options, project};

/// How long a night may take, at the most.
const WITHIN: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn each_mission_is_reported_to_its_one_end_in_bad_weather_and_over_a_kill() {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let weather = Weather { refuse_one_of: 7, lose_one_of: 5 };
    let anywhere = "127.0.0.1:0".parse().expect("an address");
    let receiver = Receiver::start(anywhere, Arc::clone(&ledger), Some("night-secret".into()), weather)
        .await
        .expect("a free port");
    let config = format!(
        "[callback]\nallow_private = [\"127.0.0.1\"]\n\
         [[callback.secret]]\nref = \"env://UA_INTERNAL_API_TOKEN\"\nhosts = [\"{}\"]",
        receiver.host()
    );
    let port = std::net::TcpListener::bind(anywhere).and_then(|taken| taken.local_addr()).expect("a free port").port();
    let options = Options::new().config(&config).env("UA_INTERNAL_API_TOKEN", "night-secret").listen(port);
    let mut node = options.start().await;
    let fleet = Fleet::new([node.url().to_owned()], node.token()).expect("a client");
    let text = std::fs::read_to_string(project().join("examples/nightly-report.json")).expect("an example");
    let envelope: Value = serde_json::from_str(&text).expect("it is JSON");
    let night = Night {
        envelope,
        name: "kill".into(),
        missions: 40,
        vps: 8,
        at_once: 8,
        twice: true,
        auth_ref: "env://UA_INTERNAL_API_TOKEN".into(),
        within: WITHIN,
    };
    let heard = Arc::clone(&ledger);
    let (morning, ()) = tokio::join!(night.pass(&fleet, &receiver, &ledger), async {
        for closed in [5, 20] {
            until_closed(&heard, closed, WITHIN).await;
            node.kill();
            node.restart().await;
        }
    });
    assert!(morning.is_good(), "{morning}");
    assert_eq!(morning.ends, [("completed".to_owned(), 40)], "{morning}");
    assert!(
        morning.events.1 > 0,
        "nothing was delivered again: the weather was good, and nothing is proven: {morning}"
    );
}

/// What `cargo xtask demo --fleet` plays: it fails where the night was not as the contract says.
#[test]
fn the_night_of_a_fleet_ends_as_the_contract_says() {
    if std::env::var_os("SORTIE_POSTGRES").is_none() {
        eprintln!("skipped: SORTIE_POSTGRES is not set; `cargo xtask test` gets PostgreSQL and sets it");
        return;
    }
    let played = Command::new(env!("CARGO_BIN_EXE_fleet")).output().expect("it starts");
    let said = String::from_utf8_lossy(&played.stdout);
    assert!(played.status.success(), "{said}\n{}", String::from_utf8_lossy(&played.stderr));
    assert!(said.contains("120 missions in") && said.contains(": 120 completed"), "{said}");
}
