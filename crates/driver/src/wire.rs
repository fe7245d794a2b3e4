//! Frames on a carrier, both ways.

use addon::link::{self, Decoder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::core::Event;

/// Bytes of one read from a carrier: what the credit of one channel lets come at once.
const READ: usize = link::INITIAL_CREDIT as usize;

/// Reads frames until the connection ends or breaks the rules.
pub(crate) async fn read(
    mut from: impl tokio::io::AsyncRead + Unpin,
    connection: u32,
    batches: &mpsc::Sender<Vec<Event>>,
) {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; READ];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        decoder.push(&buffer[..read]);
        let mut batch = Vec::new();
        loop {
            match decoder.take() {
                Ok(Some((channel, frame))) => batch.push(Event::Frame {
                    connection,
                    channel,
                    frame,
                }),
                Ok(None) => break,
                Err(_) => return,
            }
        }
        if !batch.is_empty() && batches.send(batch).await.is_err() {
            return;
        }
    }
}

/// Writes frames until the connection ends.
pub(crate) async fn write(
    mut to: impl tokio::io::AsyncWrite + Unpin,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
) {
    while let Some(mut bytes) = queue.recv().await {
        while let Ok(more) = queue.try_recv() {
            bytes.extend_from_slice(&more);
        }
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    // The machine hung up: what is left is dropped with the carrier.
    std::future::pending::<()>().await;
}
