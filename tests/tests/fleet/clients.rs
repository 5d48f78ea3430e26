//! Clients that dispatch and look, several to a key, at all nodes at once, while things happen to those. What they asked and heard is written
//! down ([`History`]).

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use sortie_tests::history::{Asked, Heard, History};
use sortie_tests::node::is_final;
use sortie_tests::{Answer, PATIENCE, http};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::chance::Chance;
use crate::kit::{Fleet, TOKEN};

/// Clients of each key.
const EACH: usize = 3;

/// How long one waits for an answer.
const WAITS: Duration = Duration::from_secs(3);

/// Between two questions of one, in milliseconds.
const PAUSE: (u64, u64) = (60, 300);

/// See the module.
pub(crate) struct Clients {
    desk: Arc<Desk>,
    at_work: JoinSet<()>,
}

/// What all of them have in common.
struct Desk {
    /// Where the nodes are.
    doors: Mutex<Vec<String>>,
    history: Mutex<History>,
    /// The missions that somebody was told of as taken.
    taken: Mutex<BTreeSet<String>>,
    /// Set once nothing happens to the nodes any more, and all missions have ended.
    is_over: AtomicBool,
}

impl Clients {
    /// Sends them for these missions.
    pub(crate) fn send(fleet: &Fleet, missions: &[(String, Value)], chance: &mut Chance) -> Self {
        let desk = Arc::new(Desk {
            doors: Mutex::new(fleet.nodes.iter().map(|node| node.url().to_owned()).collect()),
            history: Mutex::default(),
            taken: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let mut at_work = JoinSet::new();
        for (id, envelope) in missions {
            for _ in 0..EACH {
                let (id, body) = (id.clone(), envelope.to_string());
                at_work.spawn(Arc::clone(&desk).work(id, body, chance.split()));
            }
        }
        Self { desk, at_work }
    }

    /// A node is elsewhere since it was started again.
    pub(crate) fn moved(&self, no: usize, url: &str) {
        url.clone_into(&mut self.desk.doors.lock().expect("no panic while it was held")[no]);
    }

    /// Waits until each has heard the end of its mission, and gives back what they heard.
    ///
    /// # Panics
    /// If one does not, or heard what no node says.
    pub(crate) async fn come_home(mut self) -> History {
        self.desk.is_over.store(true, Relaxed);
        let all = async {
            while let Some(home) = self.at_work.join_next().await {
                if let Err(error) = home {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        };
        assert!(timeout(PATIENCE, all).await.is_ok(), "a client does not hear how its mission ended");
        std::mem::take(&mut *self.desk.history.lock().expect("no panic while it was held"))
    }
}

impl Desk {
    async fn work(self: Arc<Self>, id: String, body: String, mut chance: Chance) {
        loop {
            let is_taken = self.taken.lock().expect("no panic while it was held").contains(&id);
            // To dispatch once more what was taken must change nothing.
            let asked = if !is_taken || chance.below(4) == 0 { Asked::Dispatch } else { Asked::Look };
            match self.ask(&id, &body, asked, &mut chance).await {
                Heard::Taken | Heard::Known => {
                    self.taken.lock().expect("no panic while it was held").insert(id.clone());
                }
                Heard::Stands(status) if is_final(&status) && self.is_over.load(Relaxed) => return,
                _ => {}
            }
            sleep(Duration::from_millis(chance.between(PAUSE.0, PAUSE.1))).await;
        }
    }

    async fn ask(&self, id: &str, body: &str, asked: Asked, chance: &mut Chance) -> Heard {
        let door = {
            let doors = self.doors.lock().expect("no panic while it was held");
            doors[chance.below(doors.len())].clone()
        };
        let client = http::client();
        let request = match asked {
            Asked::Dispatch => client
                .post(format!("{door}/v1/missions"))
                .header("content-type", "application/json")
                .body(body.to_owned()),
            Asked::Look => client.get(format!("{door}/v1/missions/{id}")),
        };
        let begun = self.history.lock().expect("no panic while it was held").now();
        let answer = http::send(request.bearer_auth(TOKEN).timeout(WAITS)).await;
        let heard = answer.map_or(Heard::Silence, |answer| heard(asked, &answer));
        self.history.lock().expect("no panic while it was held").heard(id, asked, begun, heard.clone());
        heard
    }
}

/// What an answer says. A request that was sent on to another node may have come there, whatever the one says that sent it.
fn heard(asked: Asked, answer: &Answer) -> Heard {
    match (asked, answer.status, answer.code()) {
        (Asked::Dispatch, 202, _) => Heard::Taken,
        (Asked::Dispatch, 200, _) => Heard::Known,
        (Asked::Look, 200, _) => Heard::Stands(answer.json["status"].as_str().unwrap_or_default().to_owned()),
        (Asked::Look, 404, "not_found") => Heard::Nothing,
        (_, 503, "holder_away" | "holder_unreachable") => Heard::Silence,
        // The node ended under it.
        (_, 500, "task_failed") => Heard::Silence,
        (_, 503, _) => Heard::Refused,
        _ => panic!("no node says this: {answer:#?}"),
    }
}
