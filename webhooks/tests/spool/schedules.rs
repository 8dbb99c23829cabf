//! Many small histories, drawn from seeds: whatever the broker does and whenever the process ends, what was acknowledged
//! arrives, in order.

use std::collections::BTreeMap;

use crate::{
    broker::{End, Mood},
    harness::{World, impatient, until},
};

/// How many histories.
const SEEDS: u64 = 40;
const STEPS: u64 = 60;

/// SplitMix64: small, and the same everywhere.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_what_was_acknowledged_arrives_in_order() {
    let mut spooled = 0;
    for seed in 0..SEEDS {
        let mut draw = Draw(seed);
        let mut world = World::new(Mood::Up, impatient()).await;
        let mut acknowledged = BTreeMap::<String, Vec<String>>::new();
        for step in 0..STEPS {
            match draw.below(10) {
                // One after the other for each key, several keys at a time.
                0..=5 => {
                    let under_way: Vec<_> = (0..=draw.below(3))
                        .map(|key| (format!("k{key}"), world.begin(&format!("k{key}"), &step.to_string())))
                        .collect();
                    // Appends that hang get an answer when they are given up.
                    for (key, answer) in under_way {
                        let appended = answer.await.unwrap().unwrap();
                        spooled += u64::from(appended == webhooks::Appended::Spooled);
                        acknowledged.entry(key).or_default().push(step.to_string());
                    }
                }
                6 => world.broker.is(Mood::Up),
                7 => {
                    let moods = [Mood::Down, Mood::Lying, Mood::Forbids, Mood::Hangs];
                    world.broker.is(moods[draw.below(4) as usize]);
                }
                8 => {
                    let ends = [End::Taken, End::TakenUnheard, End::Lost];
                    world.broker.answer(ends[draw.below(3) as usize]);
                }
                _ => {
                    world.crash().await;
                    world.start().await;
                }
            }
        }
        world.broker.is(Mood::Up);
        until("all is forwarded", || {
            world.broker.answer(End::Taken);
            !world.spool().report().spooling
        })
        .await;
        eprintln!("seed {seed}: {} records, {} counted", world.all().len(), world.first_occurrences().len());
        world.check(&acknowledged);
    }
    assert!(spooled > SEEDS, "{spooled}");
}
