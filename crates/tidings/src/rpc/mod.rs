//! gRPC: the service's servers on one port, with health and reflection, each call counted, bounded and within a trace.
//!
//! Here: what stands around the servers ([`layer`]), and their health. Not here: the servers themselves, which tonic generates,
//! and when they start and stop (`service`).

mod body;
mod deadline;
mod health;
mod layer;
mod limit;

use std::{convert::Infallible, net::SocketAddr};

use axum::{http::Request, response::IntoResponse};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::{
    body::Body,
    server::NamedService,
    service::RoutesBuilder,
    transport::{Server, server::TcpIncoming},
};
use tower::Service;

pub(crate) use health::Health;

use crate::{
    Result,
    delivery::Drain,
    metrics::Metrics,
    service::ServiceError,
    settings::{Address, Settings},
};
use layer::{CallLayer, Limits};

/// A gRPC server as tonic generates it: `UserServiceServer::new(users)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a gRPC server",
    label = "not a gRPC server",
    note = "wrap what implements the generated trait into the generated server: `UserServiceServer::new(users)`"
)]
pub trait GrpcServer:
    Service<Request<Body>, Error = Infallible, Response: IntoResponse, Future: Send + 'static>
    + NamedService
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> GrpcServer for S where
    S: Service<Request<Body>, Error = Infallible, Response: IntoResponse, Future: Send + 'static>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// The servers of a service, in the making.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    routes: RoutesBuilder,
    names: Vec<&'static str>,
    descriptors: Vec<&'static [u8]>,
}

/// Servers that have a port and accept nobody yet.
pub(crate) struct Listening {
    servers: Servers,
    listener: TcpListener,
    pub(crate) address: SocketAddr,
    limits: Limits,
}

impl Servers {
    pub(crate) fn add<S: GrpcServer>(&mut self, server: S) {
        self.routes.add_service(server);
        self.names.push(S::NAME);
    }

    pub(crate) fn describe(&mut self, descriptors: &'static [u8]) {
        self.descriptors.push(descriptors);
    }

    /// Where to listen, if there is anything to serve.
    pub(crate) fn wanted(&self, settings: &Settings) -> Result<Option<Address>> {
        if self.names.is_empty() {
            if settings.is_given("address") {
                tracing::warn!("{} is of no use: this service serves no gRPC", settings.origin("address"));
            }
            return Ok(None);
        }
        Ok(Some(settings.get("address")?))
    }

    pub(crate) fn at(self, (listener, address): (TcpListener, SocketAddr), settings: &Settings) -> Result<Listening> {
        let limits = Limits {
            message: settings.get("grpc-message")?,
            deadline: settings.get("grpc-deadline")?,
            streams: settings.get("grpc-streams")?,
        };
        Ok(Listening { servers: self, listener, address, limits })
    }
}

impl Listening {
    /// Serves until it is told to stop, then finishes the calls that it has; what is left at the cut is answered `UNAVAILABLE`.
    pub(crate) async fn serve(self, metrics: &Metrics, drain: &Drain, parts: &mut JoinSet<Result<()>>) -> Result<Health> {
        let Servers { mut routes, mut names, descriptors } = self.servers;
        let health = Health::of(&names).await;
        routes.add_service(health.server());
        for_reflection(&mut routes, &descriptors)?;
        names.extend([
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ]);

        let streams = self.limits.streams;
        let layer = CallLayer::new(metrics.clone(), names, self.limits, drain.clone());
        let incoming = TcpIncoming::from(self.listener).with_nodelay(Some(true));
        let (stop, cut, in_hand) = (drain.stop.clone(), drain.cut.clone(), layer.in_hand());
        parts.spawn(async move {
            let server = Server::builder()
                .max_concurrent_streams(streams)
                .http2_keepalive_interval(Some(layer::KEEP_ALIVE))
                .layer(layer)
                .add_routes(routes.routes().prepare())
                .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
            tokio::select! {
                served = server => served.map_err(|source| ServiceError::Ended { part: "the gRPC server", source: source.into() }.into()),
                // A connection that its client keeps open though nothing is left on it.
                () = layer::after_answers(cut) => Ok(()),
                () = layer::after_calls(stop, in_hand) => Ok(()),
            }
        });
        Ok(health)
    }
}

/// Both versions: old clients know the first one alone.
fn for_reflection(routes: &mut RoutesBuilder, descriptors: &[&'static [u8]]) -> Result<(), ServiceError> {
    let builder = || {
        let ours = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        descriptors.iter().fold(ours, |builder, set| builder.register_encoded_file_descriptor_set(set))
    };
    let failed = |error: tonic_reflection::server::Error| ServiceError::Reflection(error.into());
    routes.add_service(builder().build_v1().map_err(failed)?);
    routes.add_service(builder().build_v1alpha().map_err(failed)?);
    Ok(())
}

#[cfg(test)]
mod tests;
