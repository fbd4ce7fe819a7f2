//! Which subscriptions a topic goes to, worked out once a topic.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use slab::Slab;
use tidings_core::{InvalidName, Topic};

use crate::hub::Line;

/// Where messages of one topic go.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) lines: Vec<usize>,
    pub(crate) is_letter: bool,
}

/// The routes of the topics that were published on.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// Most publish on the topic that was published on before.
    last: Option<(Topic, Arc<Route>)>,
    all: HashMap<Topic, Arc<Route>, RandomState>,
}

impl Routes {
    /// Above this the routes are worked out anew: topics may be made of data.
    const MAX: usize = 4_096;

    pub(crate) fn clear(&mut self) {
        self.last = None;
        self.all.clear();
    }

    /// The route of a topic.
    ///
    /// # Errors
    /// When it is a name that a server would refuse as well: what came from elsewhere follows wider rules.
    pub(crate) fn of(&mut self, topic: &Topic, lines: &Slab<Line>) -> Result<&Arc<Route>, InvalidName> {
        let last = match self.last.take() {
            Some(last) if last.0 == *topic => last,
            _ => match self.all.get(topic) {
                Some(route) => (topic.clone(), Arc::clone(route)),
                None => (topic.clone(), self.work_out(topic, lines)?),
            },
        };
        Ok(&self.last.insert(last).1)
    }

    fn work_out(&mut self, topic: &Topic, lines: &Slab<Line>) -> Result<Arc<Route>, InvalidName> {
        topic.check_for_publish()?;
        let matching = lines.iter().filter(|(_, line)| line.pattern.matches(topic)).map(|(place, _)| place).collect();
        let route = Arc::new(Route { lines: matching, is_letter: topic.as_str().starts_with("dead.") });
        if self.all.len() >= Self::MAX {
            self.all.clear();
        }
        self.all.insert(topic.clone(), Arc::clone(&route));
        Ok(route)
    }
}
