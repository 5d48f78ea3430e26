//! Servers that ask people while they make a call: who is asked what, what they are told, and when no time passes.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use sortie_tools::{Ask, Question, Reply, Waits};

use super::*;

/// People who say what is written down for them, and think for so long.
#[derive(Debug)]
struct People {
    asked: Mutex<Vec<Question>>,
    says: Reply,
    thinks: Option<Duration>,
    /// How many questions were taken back.
    taken_back: AtomicUsize,
    waits: Waits,
}

impl People {
    fn who_say(says: Reply) -> Arc<Self> {
        Self::who_think(says, Some(Duration::ZERO))
    }

    /// `None`: without end.
    fn who_think(says: Reply, thinks: Option<Duration>) -> Arc<Self> {
        Arc::new(Self {
            asked: Mutex::default(),
            says,
            thinks,
            taken_back: AtomicUsize::new(0),
            waits: Waits::default(),
        })
    }

    fn asked(&self) -> Vec<Question> {
        self.asked.lock().clone()
    }
}

#[async_trait::async_trait]
impl Ask for People {
    async fn ask(&self, question: Question) -> Reply {
        struct Asked<'a>(&'a People, bool);
        impl Drop for Asked<'_> {
            fn drop(&mut self) {
                self.0.taken_back.fetch_add(usize::from(!self.1), Relaxed);
            }
        }

        self.asked.lock().push(question);
        let mut waits = Asked(self, false);
        let _counted = (self.thinks != Some(Duration::ZERO)).then(|| self.waits.one());
        match self.thinks {
            Some(thinks) => tokio::time::sleep(thinks).await,
            None => std::future::pending().await,
        }
        waits.1 = true;
        self.says.clone()
    }

    fn waits(&self) -> tokio::sync::watch::Receiver<usize> {
        self.waits.watched()
    }
}

impl Known {
    fn with(&self, people: &Arc<People>) -> CallContext {
        CallContext { ask: people.clone(), ..self.context.clone() }
    }

    async fn asks(&self, people: &Arc<People>, arguments: Value) -> Result<Value, CallError> {
        let tool = self.tool("ask");
        let context = self.with(people);
        let answer = within(tool.call(&context, &arguments)).await?;
        Ok(serde_json::from_str(&answer.result).expect("JSON"))
    }
}

fn accepted() -> Reply {
    let Value::Object(content) = json!({"name": "Ada", "polite": true}) else { panic!("an object") };
    Reply::Accepted(content)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_asks_people_and_goes_on_with_what_they_say() {
    let known = Known::of(&config("well")).await;
    for (says, expected) in [
        (accepted(), json!({"action": "accept", "content": {"name": "Ada", "polite": true}})),
        (Reply::Declined, json!({"action": "decline"})),
        (Reply::Cancelled, json!({"action": "cancel"})),
    ] {
        let people = People::who_say(says);
        let result = known.asks(&people, json!({"times": 3})).await.expect("a result");
        let said = result["structured"].as_array().expect("a list");
        assert_eq!(said.iter().filter(|said| said["result"] == expected).count(), 3, "{said:?}");
        let asked = people.asked();
        assert_eq!((asked.len(), asked[0].message.as_str()), (3, "Who are you?"));
        assert_eq!(asked[0].form.schema()["properties"]["polite"]["default"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_later_era_the_call_is_made_once_more_with_what_people_say() {
    let known = Known::of(&config("new")).await;
    let people = People::who_say(accepted());
    let result = known.asks(&people, json!({})).await.expect("a result");
    let said = json!({"who": {"action": "accept", "content": {"name": "Ada", "polite": true}}});
    assert_eq!(result["structured"], json!([said, "kept"]));
    let result = known.call("ask", json!({})).await.expect("a result");
    assert_eq!(result["structured"], json!([{"who": {"action": "decline"}}, "kept"]), "nobody is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_of_a_server_that_is_gone_is_taken_back_from_people() {
    for mood in ["well", "new"] {
        let known = Known::of(&config(mood)).await;
        let people = People::who_think(accepted(), None);
        let error = known.asks(&people, json!({"dies": true})).await.expect_err("its server is gone");
        assert!(matches!(&error, CallError::Uncertain(why) if why.contains("was lost")), "{mood}: {error:?}");
        within(async {
            while people.taken_back.load(Relaxed) < people.asked().len() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_time_passes_for_a_call_while_people_think() {
    for mood in ["well", "new"] {
        let mut config = config(mood);
        config.call_timeout = Duration::from_secs(1);
        config.call_timeout_max = Duration::from_secs(2);
        let known = Known::of(&config).await;
        let people = People::who_think(accepted(), Some(Duration::from_millis(2_500)));
        known.asks(&people, json!({})).await.unwrap_or_else(|error| panic!("{mood}: {error}"));
        let error = known.call("silent", json!({})).await.expect_err("no sign");
        assert!(matches!(error, CallError::TimedOut(_)), "{mood}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_no_call_can_be_said_to_ask_is_declined() {
    let known = Arc::new(Known::of(&config("well")).await);
    let (people, others) = (People::who_say(accepted()), People::who_say(accepted()));
    let beside = {
        let (known, others) = (Arc::clone(&known), Arc::clone(&others));
        tokio::spawn(async move { known.tool("silent").call(&known.with(&others), &json!({})).await.map(drop) })
    };
    // Until the other call is under way, this is the only one.
    within(async {
        loop {
            let result = known.asks(&people, json!({})).await.expect("a result");
            if result["structured"][0]["result"]["action"] == "decline" {
                break;
            }
        }
    })
    .await;
    let before = people.asked().len();
    let result = known.asks(&people, json!({"related": true})).await.expect("a result");
    assert_eq!(result["structured"][0]["result"]["action"], "accept", "it says for which: {result}");
    assert_eq!((people.asked().len() - before, others.asked().len()), (1, 0), "nobody else is asked");
    beside.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_form_reaches_nobody() {
    let known = Known::of(&config("well")).await;
    let long = json!({"type": "object", "properties": {"a": {"type": "string", "title": "x".repeat(20_000)}}});
    let many: serde_json::Map<String, Value> = (0..150).map(|at| (at.to_string(), json!({"type": "string"}))).collect();
    let people = People::who_say(accepted());
    for schema in [long, json!({"type": "object", "properties": many})] {
        let result = known.asks(&people, json!({"params": {"requestedSchema": schema}})).await.expect("a result");
        assert_eq!(result["structured"][0]["result"]["action"], "decline", "{result}");
    }
    let by_address = json!({"mode": "url", "url": "https://example.org/login", "elicitationId": "1"});
    let result = known.asks(&people, json!({"params": by_address})).await.expect("a result");
    let error = &result["structured"][0]["error"];
    assert_eq!(error["code"], -32602, "{result}");
    assert!(error["message"].as_str().is_some_and(|why| why.contains("forms only")), "{error}");
    let nested = json!({"type": "object", "properties": {"a": {"type": "object", "properties": {}}}});
    let result = known.asks(&people, json!({"params": {"requestedSchema": nested}})).await.expect("a result");
    assert_ne!(result["structured"][0]["result"]["action"], "accept", "{result}");
    assert_eq!(people.asked(), []);
    let long = json!({"params": {"message": "x".repeat(100_000)}});
    known.asks(&people, long).await.expect("a result");
    assert!(people.asked()[0].message.len() <= 4_096);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_says_no_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = with_token(config("well"), folder.path());
    let known = Known::of(&config).await;
    let people = People::who_say(Reply::Declined);
    known.asks(&people, json!({"secret": true})).await.expect("a result");
    let told = format!("{:?}", people.asked());
    assert!(told.contains("***") && !told.contains("tell"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_its_server_takes_back_is_taken_back_from_people() {
    let known = Known::of(&config("well")).await;
    let people = People::who_think(accepted(), None);
    known.asks(&people, json!({"takes_back": true})).await.expect("a result");
    within(async {
        while people.taken_back.load(Relaxed) < people.asked().len() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_without_measure_is_still_heard() {
    let known = Arc::new(Known::of(&config("well")).await);
    let people = People::who_think(accepted(), None);
    let asking = {
        let (known, people) = (Arc::clone(&known), Arc::clone(&people));
        tokio::spawn(async move { known.asks(&people, json!({"times": 200, "related": true})).await.map(drop) })
    };
    within(async {
        loop {
            // The answers of other calls come through all the time.
            let seen = known.call("seen", json!({})).await.expect("a result");
            let notes = seen["structured"].as_array().expect("a list").clone();
            if notes.iter().filter(|note| note["result"]["action"] == "decline").count() >= 200 - 32 {
                break;
            }
        }
    })
    .await;
    assert_eq!(people.asked().len(), 32);
    asking.abort();
}
