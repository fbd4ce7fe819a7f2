//! Layers of tower around handlers.

use std::{
    fmt,
    sync::Arc,
    task::{self, Poll},
};

use tidings_core::{BoxError, BoxFuture};
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};

use super::{
    Context, Failure,
    dispatch::{Dispatch, Needs, Slot, empty_slot},
};

/// A handler as the layers of tower see it: see [`Handlers::layer`](crate::Handlers::layer).
#[derive(Clone)]
pub struct HandlerService(BoxCloneSyncService<Context, (), BoxError>);

impl Service<Context> for HandlerService {
    type Response = ();
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<(), BoxError>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, context: Context) -> Self::Future {
        self.0.call(context)
    }
}

impl fmt::Debug for HandlerService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerService").finish_non_exhaustive()
    }
}

/// Layers, the innermost first.
#[derive(Clone, Default)]
pub(super) struct Layers(Vec<Arc<dyn Fn(HandlerService) -> HandlerService + Send + Sync>>);

impl Layers {
    pub(super) fn push<L>(&mut self, layer: L)
    where
        L: Layer<HandlerService> + Send + Sync + 'static,
        L::Service: Service<Context, Response = (), Error: Into<BoxError>, Future: Send + 'static>,
        L::Service: Clone + Send + Sync + 'static,
    {
        self.0.push(Arc::new(move |inner| HandlerService(BoxCloneSyncService::new(layer.layer(inner).map_err(Into::into)))));
    }

    /// Puts `outer` around these.
    pub(super) fn extend(&mut self, outer: &Self) {
        self.0.extend(outer.0.iter().cloned());
    }

    /// The handler with the layers around it, or itself where there are none: then it is called without their price.
    pub(super) fn around(&self, handler: Arc<dyn Dispatch>) -> Arc<dyn Dispatch> {
        if self.0.is_empty() {
            return handler;
        }
        let innermost = HandlerService(BoxCloneSyncService::new(Innermost(Arc::clone(&handler))));
        Arc::new(Layered { service: self.0.iter().fold(innermost, |inner, layer| layer(inner)), handler })
    }
}

/// From the layers to the handler.
#[derive(Clone)]
struct Innermost(Arc<dyn Dispatch>);

impl Service<Context> for Innermost {
    type Response = ();
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<(), BoxError>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, context: Context) -> Self::Future {
        let mut slot = empty_slot();
        self.0.dispatch(context, &mut slot);
        Box::pin(async move { slot.await.map_err(Failure::into_error) })
    }
}

/// From the delivery loop to the layers.
struct Layered {
    service: HandlerService,
    /// The one within the layers.
    handler: Arc<dyn Dispatch>,
}

impl Dispatch for Layered {
    fn dispatch(&self, context: Context, slot: &mut Slot) {
        let service = self.service.clone();
        slot.set(async move { Ok(service.oneshot(context).await?) });
    }

    fn needs(&self, needs: &mut Needs) {
        self.handler.needs(needs);
    }
}
