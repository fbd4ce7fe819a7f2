//! Postgres' NOTIFY as a second way to be woken, for rows that another process wrote.

#[cfg(feature = "postgres")]
use sqlx::postgres::PgListener;

/// Notifications for one service, or none for ever.
#[derive(Debug)]
pub(crate) enum Notified {
    Never,
    #[cfg(feature = "postgres")]
    Listening {
        listener: Box<PgListener>,
        service: String,
    },
}

impl Notified {
    #[cfg(feature = "postgres")]
    pub(crate) async fn listen(pool: &sqlx::PgPool, service: &str) -> sqlx::Result<Self> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(crate::outbox::CHANNEL).await?;
        Ok(Self::Listening { listener: Box::new(listener), service: service.to_owned() })
    }

    /// Waits for the next one; a listener that fails is given up, since polling goes on anyway.
    pub(crate) async fn next(&mut self) {
        #[cfg(feature = "postgres")]
        while let Self::Listening { listener, service } = self {
            match listener.recv().await {
                Ok(notification) if notification.payload() == service => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!("no notifications from Postgres any more, the outbox is polled: {error}");
                    *self = Self::Never;
                }
            }
        }
        std::future::pending().await
    }
}
