//! Conditions against an event, four ways, on the same rules and events: the index, a plain scan of the same conditions, the
//! `cel` crate's interpreter, regorus. And loading. Prints Markdown tables; asserts only that all engines say the same.
//!
//! One measurement is one event, from what is known of its issue to the rule that decides it; the events take turns. What a program would
//! do once is not counted: parsing, preparing, and bringing the event into the engine's own values. What it would do for each
//! event is: looking words up (the index), a context that all rules share (cel), setting the input (regorus).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs
)]

#[path = "policy/cpu_time.rs"]
mod cpu_time;
#[path = "policy/engines.rs"]
mod engines;
#[path = "policy/hostile.rs"]
mod hostile;
#[path = "policy/loading.rs"]
mod loading;
#[path = "policy/table.rs"]
mod table;
#[path = "policy/world.rs"]
mod world;

use std::{cell::Cell, hint::black_box, path::PathBuf, time::Duration};

use cpu_time::CpuTime;
use criterion::{BenchmarkId, Criterion, SamplingMode};
use engines::{Cel, Engine, Indexed, Rego, Scan};
use world::{Kind, World};

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let only = |size: usize| {
        let wanted = arguments.iter().position(|argument| argument == "--size");
        wanted.is_none_or(|place| arguments.get(place + 1) == Some(&size.to_string()))
    };
    let engine_wanted = |name: &str| {
        let wanted = arguments.iter().position(|argument| argument == "--engine");
        wanted.is_none_or(|place| arguments.get(place + 1).is_some_and(|wanted| wanted == name))
    };
    let ours_alone = arguments.iter().any(|argument| argument == "--ours");
    let rounds = if quick { 1 } else { 3 };
    // `--hostile` and `--loading` take a part of the names of what is to be measured.
    for (option, print) in [("--hostile", hostile::print as fn(Option<&str>)), ("--loading", loading::print)]
    {
        if let Some(place) = arguments.iter().position(|argument| argument == option) {
            return print(arguments.get(place + 1).map(String::as_str).filter(|name| !name.starts_with('-')));
        }
    }
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-policy");
    let _ = std::fs::remove_dir_all(&dir);
    let seconds = |n: f32| Duration::from_secs_f32(if quick { n / 4.0 } else { n });
    let criterion = || {
        Criterion::default()
            .with_measurement(CpuTime)
            .without_plots()
            .output_directory(&dir)
            .warm_up_time(seconds(0.4))
            .measurement_time(seconds(2.0))
            .sample_size(10)
            .nresamples(1_000)
    };

    let mut facts = Vec::new();
    for round in 0..rounds {
        for size in SIZES.into_iter().filter(|&size| only(size)) {
            for kind in Kind::ALL {
                eprintln!("round {} of {rounds}: {size} rules, {}", round + 1, kind.name());
                let world = World::new(kind, size);
                let indexed = Indexed::new(&world);
                let scan = Scan(&indexed);
                let mut engines: Vec<(&str, Box<dyn Engine + '_>)> =
                    vec![("indexed", Box::new(&indexed)), ("scan", Box::new(scan))];
                if kind == Kind::Usual && !ours_alone {
                    engines.push(("cel", Box::new(Cel::new(&world))));
                    engines.push(("regorus", Box::new(Rego::new(&world))));
                }
                let verdicts = indexed.verdicts();
                for (name, engine) in &engines {
                    for (event, expected) in verdicts.iter().enumerate() {
                        assert_eq!(engine.decide(event), *expected, "{name}, {size} rules, event {event}");
                    }
                }
                if round == 0 {
                    facts.push((size, kind, indexed.facts(&verdicts)));
                }
                let mut criterion = criterion();
                let mut group = criterion.benchmark_group(format!("{size}-{}", kind.name()));
                group.sampling_mode(SamplingMode::Flat);
                for (name, engine) in engines.iter().filter(|(name, _)| engine_wanted(name)) {
                    let next = Cell::new(0);
                    group.bench_function(BenchmarkId::new(*name, round), |bencher| {
                        bencher.iter(|| {
                            let event = next.get();
                            next.set(if event + 1 == world::EVENTS { 0 } else { event + 1 });
                            black_box(engine.decide(event))
                        });
                    });
                }
                group.finish();
            }
        }
        let text = World::new(Kind::Usual, 10_000).policy();
        let mut criterion = criterion();
        let mut group = criterion.benchmark_group("load");
        group.sampling_mode(SamplingMode::Flat);
        group.bench_function(BenchmarkId::new("load", round), |bencher| {
            bencher.iter(|| policy::load(black_box(&text)).unwrap());
        });
        group.finish();
    }
    table::print(&dir, rounds, &facts);
    if !ours_alone {
        hostile::print(None);
    }
}
