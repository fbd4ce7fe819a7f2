//! An answer's body: it tells how the call ended, and ends it when the service does.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::http::HeaderMap;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status, body::Body};

use super::layer::Counted;

/// A body that counts its call when it ends, and that ends when the service cuts its calls.
pub(super) struct Answer {
    body: Body,
    counted: Counted,
    cut: CancellationToken,
    /// Made when the body has to be waited for, which that of a single message never has.
    waiting: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    ended: bool,
}

impl Answer {
    pub(super) fn new(body: Body, counted: Counted, cut: CancellationToken) -> Self {
        Self { body, counted, cut, waiting: None, ended: false }
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let cut = &self.cut;
        self.waiting.get_or_insert_with(|| Box::pin(cut.clone().cancelled_owned())).as_mut().poll(cx)
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.poll_cut(cx));
            self.ended = true;
            let status = super::layer::stopping();
            self.counted.ended(status.code());
            let mut trailers = HeaderMap::new();
            return Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))));
        };
        match &next {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code_in) {
                    self.counted.ended(code);
                }
            }
            Some(Err(status)) => self.counted.ended(status.code()),
            None => {}
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How a call ended, where it is said: in the trailers, or in the headers of an answer without a message.
pub(super) fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}
