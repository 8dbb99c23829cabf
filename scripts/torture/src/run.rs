//! One run, from the first process to the table.

use std::{path::Path, sync::Arc, time::Duration};

use eventlog::Clock;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    Args, Result,
    clock::SystemClock,
    evidence::{Evidence, Logged, effects},
    faults, inflict,
    letters::{Post, burst_every},
    load::{self, Load},
    refolded::refold,
    report, settle,
    world::{World, processes},
};

/// How long deliveries are still tried when the faults are over.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(3 * 60);

/// Runs; true when nothing was found.
pub(crate) async fn run(args: &Args, seed: u64, directory: &Path) -> Result<bool> {
    let length = args.length();
    let mut rng = fastrand::Rng::with_seed(seed);
    let post = Arc::new(Post::draw(&mut rng.fork(), args.events, length));
    let appointments = faults::draw(
        &mut rng,
        args.log,
        processes(args.log),
        args.nodes.into(),
        args.faults(),
        length,
        burst_every(args.events, length),
    );
    let ruleset = policy::load(crate::POLICY).map_err(|mistakes| format!("policy.yaml: {mistakes:?}"))?;

    let say = |line: String| println!("{line}");
    say(format!("starting everything in {}", directory.display()));
    let world = Arc::new(World::start(args.log, args.nodes, &args.program, &args.scripts, directory).await?);
    let log = world.log()?;
    let (began, began_at) = (Instant::now(), SystemClock.now());
    say(format!("{} deliveries and {} faults in {} s", args.events, appointments.len(), length.as_secs()));
    let give_up = CancellationToken::new();
    let load = tokio::spawn(load::deliver(Load {
        post: post.clone(),
        seed,
        began,
        began_at,
        client: world.client.clone(),
        receivers: world.members[0].watch(),
        give_up: give_up.clone(),
    }));
    let inflicted = inflict::inflict(world.clone(), began, appointments, say).await?;
    say(format!("{:6.1} s  the faults are over", began.elapsed().as_secs_f64()));
    let calendar = world.calendar_base()?;
    world.client.delete(format!("{calendar}/faults")).send().await?.error_for_status()?;
    world.all_ready().await?;
    let patience = tokio::spawn(async move {
        sleep((began + length).saturating_duration_since(Instant::now()) + ACCEPTED_WITHIN).await;
        give_up.cancel();
    });
    let stories = load.await??;
    patience.abort();
    say(format!("{:6.1} s  every delivery has been made", began.elapsed().as_secs_f64()));

    let settled = settle::settle(&world, &*log, say).await?;
    let settled_after = match settled.after {
        Some(after) => format!("everything had settled {:.1} s later", after.as_secs_f64()),
        None => format!("NOT everything had settled {} s later", settle::SETTLED_WITHIN.as_secs()),
    };
    say(format!("{:6.1} s  {settled_after}", began.elapsed().as_secs_f64()));
    let made = effects(&world.client, &calendar).await?;
    let failed_starts = world.members.iter().map(|member| member.failed_starts()).sum();
    let mut falls = Vec::new();
    for member in world.members.iter().chain([&world.calendar]) {
        falls.extend(member.falls()?);
    }
    drop(log);
    let world = Arc::into_inner(world).ok_or("a fault is still under way")?;
    falls.extend(world.stop().await?);

    let Logged { issues, actions, redriven, outcomes, dead_letters, unreadable, states } = settled.logged;
    let (refolded, redecided) =
        refold(states.keys().copied(), &issues, &outcomes, SystemClock.now(), &ruleset);
    let (post, shown, effects) = (Arc::unwrap_or_clone(post), settled.shown, made);
    let evidence = Evidence {
        log: args.log,
        post,
        stories,
        issues,
        actions,
        redriven,
        outcomes,
        dead_letters,
        unreadable,
        effects,
        shown,
        states,
        refolded,
        redecided,
    };
    let findings = report::findings(&evidence);
    let falls: String = falls.iter().map(|fall| format!("a process fell: {fall}\n")).collect();
    let clean = findings.iter().all(Vec::is_empty) && falls.is_empty() && settled.after.is_some();
    let nodes = if args.nodes == 1 { String::new() } else { format!(" of {} nodes", args.nodes) };
    let title = format!("{} log{nodes}, seed {seed}, {} s of load and faults", args.log, length.as_secs());
    let tables = [
        report::faults(&inflicted, failed_starts),
        report::deliveries(&evidence),
        report::checkers(&findings),
        falls,
    ];
    let tables = format!("\n## {title}; {settled_after}\n\n{}", tables.join("\n"));
    std::fs::write(directory.join("report.md"), &tables)?;
    std::fs::write(directory.join("findings.txt"), report::all_cases(&findings))?;
    say(tables);
    Ok(clean)
}
