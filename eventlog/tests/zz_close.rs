#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]
use std::time::{Duration, Instant};
use eventlog::{kafka::*, *};
use rdkafka::mocking::MockCluster;

fn main_loop(seed: u64) {
    for i in 0..40u64 {
        let ms = (seed * 7919 + i * 104729) % 4500;
        let mode = (seed + i) % 3;
        let began = Instant::now();
        let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        rt.block_on(async {
            let cluster = MockCluster::new(1).unwrap();
            for topic in ["in", "state"] { cluster.create_topic(topic, 2, 1).unwrap(); }
            let log = KafkaLog::new(KafkaConfig::new(cluster.bootstrap_servers())).unwrap();
            let mut member = log.subscribe(SubscriptionSpec { group: "g".into(), inputs: vec!["in".into()], changelog: "state".into() }).await.unwrap();
            let until = Instant::now() + Duration::from_millis(ms);
            while Instant::now() < until { let _ = member.poll(10, Duration::from_millis(50)).await; }
            if mode == 1 { cluster.broker_down(1).unwrap(); }
            if mode == 2 { cluster.broker_down(1).unwrap(); let _ = member.poll(10, Duration::from_millis(500)).await; }
            drop(member);
            drop(log);
        });
        let body = began.elapsed();
        drop(rt);
        let all = began.elapsed();
        if all - body > Duration::from_secs(3) { println!("SLOW seed {seed} i {i} ms {ms} mode {mode}: drop {:?}", all - body); }
    }
}

#[test]
fn closing() {
    let t: Vec<_> = (0..10).map(|s| std::thread::spawn(move || main_loop(s))).collect();
    for t in t { t.join().unwrap(); }
}
