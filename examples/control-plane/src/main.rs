//! `sortie-control-plane`: dispatches a night of missions to nodes, hears each to its end, and says whether all that was promised was kept.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use sortie_control_plane::{Fleet, Ledger, Night, Receiver, Weather};

/// Dispatches a night of missions to Sortie nodes and holds every event that comes back against the contract.
///
/// The exit code is 0 where all that was promised was kept, 1 where not, 2 where it could not be tried.
#[derive(Debug, Parser)]
#[command(name = "sortie-control-plane", version)]
struct Options {
    /// The address of a node, as `http://host:port`; several for a fleet
    #[arg(long, required = true)]
    node: Vec<String>,
    /// A token of the nodes, with the scope `dispatch` and `read`
    #[arg(long, env = "SORTIE_TOKEN", hide_env_values = true)]
    token: String,
    /// What all missions have in common: an envelope, of which names, key, trace, time and callback are replaced
    #[arg(long)]
    envelope: PathBuf,
    /// What the names of the missions begin with; a second run under the same name is the same missions
    #[arg(long, default_value = "night")]
    name: String,
    /// How many missions
    #[arg(long, default_value_t = 10)]
    missions: usize,
    /// Among how many VPs they are spread; 0: all are the envelope's own VP's
    #[arg(long, default_value_t = 0)]
    vps: usize,
    /// How many are dispatched at once
    #[arg(long, default_value_t = 8)]
    at_once: usize,
    /// Dispatch each twice at the same moment, to two nodes
    #[arg(long)]
    twice: bool,
    /// Where events are received: the nodes' configuration must allow it
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// How nodes find the secret of the callback
    #[arg(long, default_value = "env://UA_INTERNAL_API_TOKEN")]
    auth_ref: String,
    /// The secret of the callback: deliveries that do not show it are refused
    #[arg(long, env = "UA_INTERNAL_API_TOKEN", hide_env_values = true)]
    secret: Option<String>,
    /// Refuse the first delivery of one event of so many
    #[arg(long, default_value_t = 0)]
    refuse_one_of: u64,
    /// Lose the answer to the first delivery of one event of so many
    #[arg(long, default_value_t = 0)]
    lose_one_of: u64,
    /// Seconds that all of it may take
    #[arg(long, default_value_t = 300)]
    within: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("sortie-control-plane: {why}");
            ExitCode::from(2)
        }
    }
}

async fn run(options: Options) -> Result<bool, String> {
    let file = options.envelope.display();
    let text = std::fs::read_to_string(&options.envelope).map_err(|error| format!("{file}: {error}"))?;
    let envelope = serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let weather = Weather { refuse_one_of: options.refuse_one_of, lose_one_of: options.lose_one_of };
    let receiver = Receiver::start(options.listen, Arc::clone(&ledger), options.secret, weather)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let fleet = Fleet::new(options.node, &options.token).map_err(|error| error.to_string())?;
    let night = Night {
        envelope,
        name: options.name,
        missions: options.missions,
        vps: options.vps,
        at_once: options.at_once,
        twice: options.twice,
        auth_ref: options.auth_ref,
        within: Duration::from_secs(options.within),
    };
    let morning = night.pass(&fleet, &receiver, &ledger).await;
    #[expect(clippy::print_stdout, reason = "what it finds is its data")]
    {
        println!("{morning}");
    }
    Ok(morning.is_good())
}
