//! Who may run beside whom: a scenario that promises a time runs alone on the machine.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static TURN: RwLock<()> = RwLock::const_new(());

/// Hold it through a scenario that measures a time.
pub(crate) async fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().await
}

/// Hold it through any other scenario.
pub(crate) async fn among_others() -> RwLockReadGuard<'static, ()> {
    TURN.read().await
}
