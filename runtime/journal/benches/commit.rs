//! What a durable dispatch costs: a frame of about 1.5 KB, a head, a feed entry, group commit, a real disk.
//!
//! `cargo bench -p sortie-journal`. Each iteration is one dispatch by one of the producers, who each wait for theirs
//! before they make the next. The disk decides: compare ratios, and see docs/JOURNAL.md for the figures.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and stops at the first failure"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sortie_contract::id::CallNo;
use sortie_contract::plugin::LogLevel;
use sortie_contract::{MissionNo, Record, Stamped, Timestamp};
use sortie_journal::sim::sample_head;
use sortie_journal::{Append, Journal, Options};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

fn dispatch(no: u64) -> Append {
    let record = Record::Logged { call: CallNo(0), level: LogLevel::Info, text: "x".repeat(1_500) };
    let stamped = Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 0, record };
    Append::new(MissionNo(no), 0, &[stamped]).head(&sample_head(no))
}

/// The time that `producers` take for `dispatches` altogether.
fn closed_loop(
    runtime: &Runtime,
    journal: &Journal,
    next: &Arc<AtomicU64>,
    producers: u64,
    dispatches: u64,
) -> Duration {
    let started = Instant::now();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for producer in 0..producers {
            let share = dispatches / producers + u64::from(producer < dispatches % producers);
            let (journal, next) = (journal.clone(), Arc::clone(next));
            tasks.spawn(async move {
                for _ in 0..share {
                    let append = dispatch(next.fetch_add(1, Ordering::Relaxed));
                    journal.append_durable(append).unwrap().await.unwrap();
                }
            });
        }
        while let Some(outcome) = tasks.join_next().await {
            outcome.unwrap();
        }
    });
    started.elapsed()
}

fn durable_dispatches(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let dir = tempfile::tempdir_in(".").unwrap();
    let mut group = criterion.benchmark_group("durable dispatch");
    group.throughput(Throughput::Elements(1)).sample_size(20).measurement_time(Duration::from_secs(5));
    for producers in [1, 16, 64, 256] {
        let path = dir.path().join(format!("{producers}.redb"));
        let (journal, opened) = Journal::open(&path, &Options::default()).unwrap();
        let next = Arc::new(AtomicU64::new(opened.last_no.0 + 1));
        group.bench_function(BenchmarkId::new("producers", producers), |bencher| {
            bencher.iter_custom(|dispatches| closed_loop(&runtime, &journal, &next, producers, dispatches));
        });
    }
    group.finish();
}

fn encoding(criterion: &mut Criterion) {
    criterion.bench_function("encode a dispatch", |bencher| bencher.iter(|| dispatch(7)));
}

criterion_group!(benches, encoding, durable_dispatches);
criterion_main!(benches);
