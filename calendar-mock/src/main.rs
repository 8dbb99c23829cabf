//! `calendar-mock`: serves a calendar and notification API that keeps everything in memory.

#![allow(clippy::print_stdout, reason = "the address it listens on is the program's answer")]

use std::{io, net::SocketAddr};

use calendar_mock::{BASE, CalendarMock, serve};
use clap::Parser;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// A calendar and notification API that keeps everything in memory and fails on request.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "BREAKDOWN_CALENDAR_LISTEN", default_value = "127.0.0.1:7300")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let Arguments { listen } = Arguments::parse();
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        let hint = "give another address with --listen or BREAKDOWN_CALENDAR_LISTEN";
        io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}; {hint}"))
    })?;
    // Both before the address is printed: whoever reads it may stop the program at once.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    println!("calendar-mock listens on http://{}{BASE}", listener.local_addr()?);
    serve(listener, CalendarMock::new(), async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
    .await
}
