//! One server for all tests of a binary.

use super::Process;
use std::ops::Deref;

/// A server that the tests of one binary share: started by the first that asks, never by two.
///
/// It is not to be killed. When the test that holds this panics, the end of the server's log is
/// printed.
#[derive(Debug)]
pub struct Shared<S: AsRef<Process> + 'static>(pub(super) &'static S);

impl<S: AsRef<Process>> Deref for Shared<S> {
    type Target = S;

    fn deref(&self) -> &S {
        self.0
    }
}

impl<S: AsRef<Process> + 'static> Drop for Shared<S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.as_ref().print_log();
        }
    }
}
