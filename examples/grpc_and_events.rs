//! One service with a gRPC call and the event that it causes, handled by the same program.
//!
//! `cargo run -p examples --bin grpc-and-events`, then for example
//! `grpcurl -plaintext -d '{"item": "kite", "count": 2}' 127.0.0.1:50051 shop.Orders/Place`.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use tidings::{Event, Handlers, Meta, Publisher, Service};
use tonic::{Request, Response, Status};

mod proto {
    #![allow(missing_docs, unreachable_pub, reason = "generated")]
    tonic::include_proto!("shop");
}
use proto::{
    Order, Placed,
    orders_server::{Orders, OrdersServer},
};

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "order.placed", key = "id")]
struct OrderPlaced {
    id: String,
    item: String,
    count: u32,
}

struct Shop {
    publisher: Publisher,
}

#[tonic::async_trait]
impl Orders for Shop {
    async fn place(&self, request: Request<Order>) -> Result<Response<Placed>, Status> {
        let Order { item, count } = request.into_inner();
        if item.is_empty() || count == 0 {
            return Err(Status::invalid_argument("item and count are needed"));
        }
        let placed = OrderPlaced { id: tidings::MessageId::generate().to_string(), item, count };
        // Straight to the broker: there is no database here that it could belong to.
        self.publisher.publish(&placed).await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(Placed { id: placed.id }))
    }
}

async fn pack(order: OrderPlaced, meta: Meta) {
    println!("packing {} of {} (order {}, attempt {})", order.count, order.item, order.id, meta.attempt());
}

#[tokio::main]
async fn main() -> tidings::Result<()> {
    let service = Service::builder("shop", env!("CARGO_PKG_VERSION")).default("address", "127.0.0.1:50051").init()?;
    let shop = Shop { publisher: service.publisher().await? };
    service.grpc(OrdersServer::new(shop)).handlers(Handlers::new().on(pack)).run().await
}
