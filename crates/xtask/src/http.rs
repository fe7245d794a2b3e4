//! HTTP/1.1 on loopback, just enough to push to a registry and to serve git: one request a connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// Nothing on loopback is silent for so long, unless it hangs.
const SILENCE: Duration = Duration::from_mins(1);

/// What a peer sent: a request or an answer.
#[derive(Debug)]
pub(crate) struct Message {
    /// `GET /x HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub(crate) first: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Whole.
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Reads one. `None`: the peer said nothing. `bodyless`: an answer to HEAD.
    pub(crate) fn read(stream: &mut impl Read, bodyless: bool) -> Result<Option<Self>> {
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(None);
        }
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                bail!("the connection ended within the headers");
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').context("a header without a colon")?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut message = Self {
            first: first.trim_end().to_owned(),
            headers,
            body: Vec::new(),
        };
        if bodyless {
            return Ok(Some(message));
        }
        if message
            .header("transfer-encoding")
            .is_some_and(|t| t.contains("chunked"))
        {
            loop {
                let mut size = String::new();
                reader.read_line(&mut size)?;
                let size = size.trim().split(';').next().unwrap_or_default().to_owned();
                let size = u64::from_str_radix(&size, 16)
                    .with_context(|| format!("`{size}` is not the size of a chunk"))?;
                (&mut reader).take(size).read_to_end(&mut message.body)?;
                let mut end = String::new();
                reader.read_line(&mut end)?;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = message.header("content-length") {
            let length: u64 = length.parse().context("content-length is not a number")?;
            (&mut reader).take(length).read_to_end(&mut message.body)?;
        }
        Ok(Some(message))
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> u16 {
        self.first
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .unwrap_or(0)
    }
}

/// A request and its answer.
pub(crate) fn ask(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Message> {
    let mut stream = TcpStream::connect(to).with_context(|| format!("nobody answers on {to}"))?;
    stream.set_read_timeout(Some(SILENCE))?;
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        for part in [name, ": ", value, "\r\n"] {
            head += part;
        }
    }
    head += "\r\n";
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    Message::read(&mut stream, method == "HEAD")?
        .with_context(|| format!("no answer to {method} {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_by_length_and_in_chunks_are_read_whole() {
        for text in [
            "POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
            "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
        ] {
            let message = Message::read(&mut text.as_bytes(), false).unwrap().unwrap();
            assert_eq!(message.body, b"hello");
        }
        assert!(Message::read(&mut "".as_bytes(), false).unwrap().is_none());
        let head = Message::read(
            &mut "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".as_bytes(),
            true,
        )
        .unwrap()
        .unwrap();
        assert_eq!((head.status(), head.body.len()), (200, 0));
    }
}
