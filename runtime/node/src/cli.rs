//! The command line. Data goes to standard output, talk to standard error; colour and progress only to a terminal. How things look is
//! `text`'s; each other file is a command, or a few.

mod act;
mod actions;
mod agree;
mod author;
mod backup;
mod beside;
mod client;
mod compiled;
mod complete;
mod decide;
mod distribute;
mod doctor;
mod explain;
mod fork;
mod hook;
mod input;
mod journal;
mod look;
mod manage;
mod manifest;
mod mcp;
mod migrate;
mod night;
mod node;
mod nodes;
mod notify;
mod replay;
mod restore;
mod run;
mod schedule;
mod serve;
mod show;
mod submit;
mod text;
mod watch;
mod why;

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueHint};
use serde_json::json;
use sortie_confine::Role;

use crate::config::{Config, ConfigError};
use crate::node::OpenError;

/// The mission runtime of a factory node.
#[derive(Debug, Parser)]
#[command(name = "sortie", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// The configuration; without it ./sortie.toml, then the user's configuration folder.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The node to talk to; without it the one that the configuration describes.
    #[arg(long, global = true, value_name = "URL", env = "SORTIE_NODE")]
    node: Option<String>,
    /// The bearer token; without it the one in the data directory of the node.
    #[arg(long, global = true, value_name = "TOKEN", env = "SORTIE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print JSON instead of text for people; what went wrong too, on standard error.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one mission in this process and show its events.
    Run(run::RunArgs),
    /// Run a node.
    Serve(serve::ServeArgs),
    /// Dispatch envelopes to a node: files with one envelope, an array, or NDJSON; `-` reads standard input.
    Submit(submit::SubmitArgs),
    /// List missions, newest first.
    Ls(look::LsArgs),
    /// Show a mission's state.
    Show {
        /// The mission's id.
        #[arg(value_parser = named, add = complete::missions())]
        id: String,
    },
    /// Show why a mission stands as it does: what led to its end, or what it waits for, record by record.
    Why {
        /// The mission's id.
        #[arg(value_parser = named, add = complete::missions())]
        id: String,
    },
    /// Show what an envelope may do on a node, before it runs: which tools, which budget, when, held against what. Nothing is dispatched.
    Explain(explain::ExplainArgs),
    /// Show a mission's events as they happen, until its final one.
    Watch {
        /// The mission's id.
        #[arg(value_parser = named, add = complete::missions())]
        id: String,
    },
    /// Show every record of a mission.
    Journal(journal::JournalArgs),
    /// List a mission's artifacts, or get one.
    Artifacts {
        /// The mission's id.
        #[arg(value_parser = named, add = complete::missions())]
        id: String,
        /// Write this artifact's bytes to standard output.
        #[arg(long, value_name = "NAME", value_parser = named)]
        get: Option<String>,
    },
    /// Cancel missions.
    Cancel {
        #[command(flatten)]
        which: act::Which,
        /// Why: part of the final event.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Keep a mission and its artifacts, whatever `[retention]` says.
    Keep {
        /// The mission's id.
        #[arg(value_parser = named, add = complete::missions())]
        id: String,
        /// Leave it to `[retention]` again.
        #[arg(long)]
        off: bool,
    },
    /// Go on from a call of missions, each as a mission of its own: what is on record up to there is not done again.
    Fork(fork::ForkArgs),
    /// Run a mission's plugin again on its record, doing nothing, and show each call; says where it goes another way.
    Replay(replay::ReplayArgs),
    /// List what missions ask of people.
    Requests(look::PageArgs),
    /// List deliveries that are on their way or parked: why they are no further, and when the next attempt is due.
    Deliveries(look::DeliveriesArgs),
    /// Try parked deliveries again, once what kept them is mended.
    Redeliver {
        #[command(flatten)]
        which: act::Which,
    },
    /// Leave parked deliveries out, and go on behind them.
    Skip {
        #[command(flatten)]
        which: act::Which,
    },
    /// Approve a call; grant a budget (--amount); have an uncertain call repeated.
    Approve(decide::ApproveArgs),
    /// Turn a request down: the mission's plugin gets an error.
    Deny(decide::RequestArgs),
    /// Answer a mission's question, or that of a tool; say (in JSON) what an uncertain call returned.
    Answer {
        #[command(flatten)]
        which: decide::RequestArgs,
        /// The answer. Where a tool asks with a form: a JSON object with its fields, or, where
        /// its only field takes a text, just that text.
        text: String,
    },
    /// Show a night at a glance: done, failed, carried over, waiting for people, spent, what comes next. Exit code 1 if something failed,
    /// was missed or waits for people.
    Night(night::NightArgs),
    /// List what operators did, newest first: who, when, and what they said.
    Actions(look::PageArgs),
    /// The node as an MCP server for agents: where it is, or with --stdio the server itself.
    Mcp(mcp::McpArgs),
    /// Manage schedules: recurring missions.
    #[command(subcommand)]
    Schedule(schedule::ScheduleCommand),
    /// Pause the node, or let it go on.
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// List the nodes of the store: which are there, what they have to do. Exit code 1 if one is away.
    Nodes,
    /// Have a node take no more missions, bring those that run to rest and hand them over to the other nodes of its store; then it stops.
    Drain(nodes::DrainArgs),
    /// Take a backup of the node while it runs, or of its data directory while it does not: one file, checked.
    Backup(backup::BackupArgs),
    /// Restore a data directory from a backup, say what is forgotten by it, and start paused.
    Restore(restore::RestoreArgs),
    /// Make the tables of the database that `[node] store` names, or bring those of an older Sortie forward. Once is enough, and twice
    /// at once does no harm.
    Migrate,
    /// See and try the channels by which people are told.
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// See and try the hooks to which services outside deliver what happened.
    #[command(subcommand)]
    Hook(hook::HookCommand),
    /// Manage plugins.
    #[command(subcommand)]
    Plugin(manage::PluginCommand),
    /// See and try tools.
    #[command(subcommand)]
    Tool(manage::ToolCommand),
    /// Check a configuration with its data directory and its node, or the node that --node names, and say what to do.
    Doctor(doctor::DoctorArgs),
    /// Print completions for a shell, such as `source <(sortie completions bash)` reads; they know the missions of the node.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command into a folder.
    Man {
        /// The folder; it is made where there is none.
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        folder: Option<PathBuf>,
    },
    /// What the node starts itself as to confine a command of `Bash`; of no use by hand.
    #[command(name = crate::SANDBOX, hide = true)]
    Sandbox {
        /// Which of its processes.
        #[arg(value_parser = |text: &str| Role::of(text).ok_or("there is no such role"))]
        role: Role,
    },
}

pub(crate) use client::with_causes;
pub(crate) use night::line as night_line;
pub(crate) use text::plain;

/// The configuration with another data directory, where one is named.
fn in_data_dir(mut config: Config, named: Option<PathBuf>) -> Config {
    config.node.data_dir = named.or(config.node.data_dir);
    config
}

/// The name of something that has a path of its own on a node. Without one the path would be another thing's.
fn named(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("it is empty: say which one is meant (`sortie ls` lists missions)"),
        "." | ".." => Err("it is a step of a path, and no name (`sortie ls` lists missions)"),
        _ => Ok(text.to_owned()),
    }
}

/// How a command ends: what its exit code says. Each code means one thing, so that scripts can tell a mission that failed from a
/// command that was not carried out. docs/OPERATIONS.md lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    /// Done; the mission is completed; the replay ends as its record does.
    Completed = 0,
    /// The mission failed; `doctor` found something; a night needs people.
    Failed = 1,
    /// What was given cannot be used: arguments, the configuration, an envelope.
    Unusable = 2,
    /// The mission timed out.
    TimedOut = 3,
    /// The mission was cancelled.
    Cancelled = 4,
    /// The mission is blocked, and nobody is there to ask.
    Blocked = 5,
    /// The command was not carried out: no node answers, the node refuses, the journal is in use by another process.
    Undone = 6,
    /// `replay`: this build gets past what the recorded run failed at.
    Mended = 7,
    /// `replay`: this build does something else than the record.
    Different = 8,
    /// `replay`: it stopped where it was asked to.
    Stopped = 9,
}

/// The same, for `--help`.
const EXIT_CODES: &str = "\
Exit codes: 0 done, or the mission is completed; 1 the mission failed, `doctor` found something, or a night needs people; 2 unusable input; 3 the \
mission timed out; 4 it was cancelled; 5 it is blocked and nobody is there to ask; 6 the command was not carried out (no node \
answers, it refuses, the journal is in use); `replay`: 0 same, 7 mended, 8 different, 9 stopped where it was asked to.";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What went wrong, and the exit code that says so.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    error: Box<dyn Error>,
}

impl<E: Into<Box<dyn Error>>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let exit = if is_of_the_configuration(error.as_ref()) { Exit::Unusable } else { Exit::Undone };
        Self { exit, error }
    }
}

/// Whether that says that the configuration cannot be used, whichever part of the node found it out.
fn is_of_the_configuration(error: &(dyn Error + 'static)) -> bool {
    error.is::<ConfigError>() || error.downcast_ref().is_some_and(OpenError::is_of_the_configuration)
}

impl Failure {
    /// What was given cannot be used.
    fn unusable(error: impl Into<Box<dyn Error>>) -> Self {
        Self { exit: Exit::Unusable, error: error.into() }
    }
}

/// Runs the program on the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    // What the node starts to look after a tool server is no command for people.
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if let [_, command, arguments @ ..] = arguments.as_slice()
        && command == crate::config::KEEPER
    {
        crate::memory::keep_private();
        return sortie_mcp::keep(arguments);
    }
    complete::answer();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") => {
            let (told, exit) = (error.to_string(), Exit::Unusable);
            let told = told.trim_start_matches("error: ").trim_end();
            let _ = writeln!(std::io::stderr(), "{}", json!({"error": told, "because": [], "exit_code": exit as u8}));
            return exit.into();
        }
        Err(error) => error.exit(),
    };
    // Before anything is read, and before there is a second thread.
    if let Command::Sandbox { role } = cli.command {
        return sortie_confine::main(role);
    }
    crate::memory::keep_private();
    let as_json = cli.json;
    match dispatch(cli) {
        Ok(exit) => exit.into(),
        // Whoever reads our output has had enough, as `head` does.
        Err(failure) if is_broken_pipe(failure.error.as_ref()) => Exit::Completed.into(),
        Err(failure) => {
            let causes =
                std::iter::successors(failure.error.source(), |&error| error.source()).map(ToString::to_string);
            let message = if as_json {
                let causes: Vec<String> = causes.collect();
                json!({"error": failure.error.to_string(), "because": causes, "exit_code": failure.exit as u8})
                    .to_string()
            } else {
                let told = std::iter::once(format!("sortie: {}", failure.error));
                let told: Vec<String> = told.chain(causes.map(|error| format!("  because {error}"))).collect();
                text::plain_lines(&told.join("\n"))
            };
            // With standard error closed there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "{message}");
            failure.exit.into()
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    match &cli.command {
        Command::Completions { shell } => return complete::print(*shell),
        Command::Man { folder } => return complete::manual(folder.as_deref()),
        _ => {}
    }
    let config = Config::load(cli.config.as_deref())?;
    // Without a provider of its own rustls would look for one at run time and panic.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("sortie").build()?;
    let outcome = runtime.block_on(perform(cli, config));
    // A tool that does not end must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome
}

async fn perform(cli: Cli, config: Config) -> Result<Exit, Failure> {
    let client = || client::Client::new(cli.node.as_deref(), cli.token.as_deref(), &config);
    let json = cli.json;
    match cli.command {
        Command::Run(args) => run::run(args, config, cli.token.as_deref(), json).await,
        Command::Serve(args) => serve::serve(args, Config::place(cli.config.as_deref()), config).await,
        Command::Submit(args) => submit::submit(args, &client()?, json).await,
        Command::Ls(args) => look::ls(args, &client()?, json).await,
        Command::Show { id } => show::show(&id, &client()?, json).await,
        Command::Why { id } => why::why(&id, &client()?, json).await,
        Command::Explain(args) => explain::explain(args, &client()?, json).await,
        Command::Watch { id } => watch::watch(&id, &client()?, json).await,
        Command::Journal(args) => journal::journal(args, &client()?, json).await,
        Command::Artifacts { id, get } => look::artifacts(&id, get.as_deref(), &client()?, json).await,
        Command::Cancel { which, reason } => act::cancel(&which, &reason, &client()?, json).await,
        Command::Redeliver { which } => act::redeliver(&which, &client()?, json).await,
        Command::Skip { which } => act::skip(&which, &client()?, json).await,
        Command::Keep { id, off } => look::keep(&id, !off, &client()?, json).await,
        Command::Fork(args) => fork::fork(args, &client()?, json).await,
        Command::Replay(args) => replay::replay(args, &client()?, json).await,
        Command::Requests(which) => decide::requests(&which, &client()?, json).await,
        Command::Deliveries(args) => look::deliveries(args, &client()?, json).await,
        Command::Approve(args) => decide::approve(args, &client()?, json).await,
        Command::Deny(which) => decide::deny(which, &client()?, json).await,
        Command::Answer { which, text } => decide::answer(which, text, &client()?, json).await,
        Command::Actions(which) => actions::actions(&which, &client()?, json).await,
        Command::Mcp(args) => mcp::mcp(&args, client()?, json).await,
        Command::Night(args) => night::night(args, &client()?, json).await,
        // Nobody has to be asked.
        Command::Schedule(schedule::ScheduleCommand::Next(args)) => schedule::next(args, json),
        Command::Schedule(command) => schedule::schedule(command, &client()?, json).await,
        Command::Node(command) => node::node(command, &client()?, json).await,
        Command::Nodes => nodes::nodes(&client()?, json).await,
        Command::Drain(args) => nodes::drain(args, &client()?, json).await,
        Command::Backup(args) => {
            let config = in_data_dir(config, args.data_dir.clone());
            backup::backup(args, &config, (cli.node.as_deref(), cli.token.as_deref()), json).await
        }
        Command::Restore(args) => {
            let config = in_data_dir(config, args.data_dir.clone());
            restore::restore(args, &config, json).await
        }
        Command::Migrate => migrate::migrate(&config, json).await,
        Command::Notify(command) => notify::notify(command, &client()?, json).await,
        Command::Hook(command) => hook::hook(command, &client()?, json).await,
        Command::Plugin(command) => manage::plugin(command, client, &config, json).await,
        Command::Tool(command) => manage::tool(command, &client()?, json).await,
        Command::Doctor(args) => {
            let config = in_data_dir(config, args.data_dir);
            let client = client::Client::new(cli.node.as_deref(), cli.token.as_deref(), &config);
            doctor::doctor(&config, Config::place(cli.config.as_deref()), client, cli.node.is_some(), json).await
        }
        Command::Completions { .. } | Command::Man { .. } | Command::Sandbox { .. } => Ok(Exit::Completed),
    }
}
