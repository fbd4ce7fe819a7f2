//! Refusing a message that is too large before it is read.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

/// A request's body none of whose messages is larger than allowed.
#[derive(Debug)]
pub(super) struct Limited {
    body: Body,
    limit: u64,
    prefix: [u8; PREFIX],
    /// How much of the next message's prefix is there.
    filled: usize,
    /// How much of the current message is to come.
    left: u64,
}

/// What stands before each message: whether it is compressed, and its length in four bytes.
const PREFIX: usize = 5;

impl Limited {
    pub(super) fn new(body: Body, limit: u64) -> Self {
        Self { body, limit, prefix: [0; PREFIX], filled: 0, left: 0 }
    }

    fn check(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            if self.left > 0 {
                let passed = data.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                data.advance(passed);
                self.left -= passed as u64;
                continue;
            }
            let taken = data.len().min(PREFIX - self.filled);
            self.prefix[self.filled..self.filled + taken].copy_from_slice(&data[..taken]);
            data.advance(taken);
            self.filled += taken;
            if self.filled == PREFIX {
                let [_, a, b, c, d] = self.prefix;
                let length = u64::from(u32::from_be_bytes([a, b, c, d]));
                if length > self.limit {
                    let text = format!("a message of {length} bytes is larger than the {} that are allowed", self.limit);
                    return Err(Status::resource_exhausted(text));
                }
                (self.left, self.filled) = (length, 0);
            }
        }
        Ok(())
    }
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
            && let Err(status) = self.check(data)
        {
            return Poll::Ready(Some(Err(status)));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u32) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.extend(vec![7; length as usize]);
        bytes
    }

    #[test]
    fn every_message_is_looked_at_however_it_is_cut() {
        let good = [message(10), message(0), message(9)].concat();
        let bad = [message(10), message(11)].concat();
        for size in 1..=good.len() {
            let checked = |bytes: &[u8]| {
                let mut limited = Limited::new(Body::empty(), 10);
                bytes.chunks(size).try_for_each(|chunk| limited.check(chunk))
            };
            assert!(checked(&good).is_ok(), "{size}");
            let refused = checked(&bad).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
            assert!(refused.message().contains("of 11 bytes") && refused.message().contains("the 10 that"), "{refused}");
        }
    }
}
