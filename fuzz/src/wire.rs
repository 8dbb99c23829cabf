//! A connection's bytes, put to the server over a real socket: after its last byte the peer only reads.

use std::{cell::RefCell, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use eventlog::ManualClock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use webhooks::Server;

use crate::{
    deliveries::config,
    recorder::{Recorder, now},
};

/// Far longer than an answer takes.
const PATIENCE: Duration = Duration::from_secs(5);

struct World {
    runtime: Runtime,
    address: SocketAddr,
    log: Arc<Recorder>,
}

thread_local!(static WORLD: RefCell<World> = RefCell::new(World::new()));

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let log = Arc::new(Recorder::default());
        let server = Server::new(config(), log.clone(), Arc::new(ManualClock::new(now())), Router::new());
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(server.serve(listener, CancellationToken::new()));
        Self { runtime, address, log }
    }
}

pub fn wire(data: &[u8]) {
    WORLD.with_borrow(|world| {
        let answers = world.runtime.block_on(async {
            let mut stream = TcpStream::connect(world.address).await.expect("a connection");
            // It may answer and close before all was sent.
            let _ = stream.write_all(data).await;
            let _ = stream.shutdown().await;
            let mut answers = Vec::new();
            let ended = timeout(PATIENCE, stream.read_to_end(&mut answers)).await;
            assert!(ended.is_ok(), "the connection stays open after {} bytes of answer", answers.len());
            answers
        });
        let mut answered = 0;
        for at in 0..answers.len() {
            let Some(rest) = answers[at..].strip_prefix(b"HTTP/1.") else { continue };
            let status =
                rest.get(2..5).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default();
            let known = ["200", "202", "400", "401", "404", "405", "413", "414", "415", "429", "431"];
            assert!(known.contains(&status), "{:?}", String::from_utf8_lossy(&answers));
            answered += 1;
        }
        // Each answer has a request, which has an end of a line, or at least its beginning.
        let lines = data.iter().filter(|byte| **byte == b'\n').count();
        assert!(answered <= lines + 1, "{answered} answers to {lines} lines");
        assert!(world.log.take().len() <= answered);
    });
}
