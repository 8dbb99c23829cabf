//! One HTTP/1.1 connection that is kept alive: a request out, an answer in.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// The status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: &'a [u8],
}

/// A connection, opened when it is needed.
pub(crate) struct Connection {
    address: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

struct Head {
    status: u16,
    length: usize,
    body_length: usize,
    closes: bool,
}

impl Connection {
    /// Opens a connection to `host:port`.
    pub(crate) async fn open(address: &str) -> io::Result<Self> {
        let stream = Some(connect(address).await?);
        Ok(Self { address: address.to_owned(), stream, buffer: vec![0; 16 * 1024] })
    }

    /// Sends a whole request and reads its answer. After an error the next call connects anew.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(&self.address).await?,
        };
        stream.write_all(request).await?;
        let mut filled = 0;
        let head = loop {
            let read = stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            match head(&self.buffer[..filled])? {
                Some(head) if head.length + head.body_length > self.buffer.len() => {
                    return Err(io::Error::other("an answer of more than 16 KiB"));
                }
                Some(head) if filled >= head.length + head.body_length => break head,
                _ => {}
            }
        };
        if !head.closes {
            self.stream = Some(stream);
        }
        Ok(Answer { status: head.status, body: &self.buffer[head.length..head.length + head.body_length] })
    }
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The head of an answer, once it is whole.
fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let value = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let body_length = value("content-length").and_then(|digits| digits.parse().ok());
    Ok(Some(Head {
        status: response.code.unwrap_or_default(),
        length,
        body_length: body_length.ok_or_else(|| io::Error::other("an answer without content-length"))?,
        closes: value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    }))
}
