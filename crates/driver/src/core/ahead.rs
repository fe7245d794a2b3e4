//! Which containers of a pod are minded: those that steps need, some that come next, and the last that have rested.
//!
//! A group may have a thousand steps. A backend that makes a container when it is asked to is asked for the next few while a step
//! runs, so that a hand-over needs no more than a message, and never for all. A container whose step is over stays as it is, but its
//! channel is closed after some others have rested too: it is opened again if the container is needed again.

use addon::link::Frame;
use pipeline::plan::NodeId;

use super::group::first_containers;
use super::{Action, Core};

impl Core {
    /// How many containers beyond those in use are asked for.
    pub fn look_ahead(&mut self, containers: usize) {
        self.ahead = containers.max(1);
    }

    /// A step needs this container now.
    pub(super) fn need(&mut self, group: &NodeId, name: &str) {
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        let Some(container) = entry.containers.get_mut(name) else {
            return;
        };
        entry.reached = entry.reached.max(container.place + 1);
        if !entry.rested.is_empty() {
            entry.rested.retain(|rested| rested != name);
        }
        if container.asked {
            if !entry.minded.contains(name) {
                entry.minded.insert(name.to_owned());
            }
        } else {
            self.ask(group, name);
        }
    }

    fn ask(&mut self, group: &NodeId, name: &str) {
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        if let Some(container) = entry.containers.get_mut(name)
            && !container.asked
        {
            container.asked = true;
            entry.minded.insert(name.to_owned());
            self.out.push_back(Action::Container {
                group: group.clone(),
                spec: entry.spec.clone(),
                container: name.to_owned(),
            });
        }
    }

    /// How far a group is by its steps: of one that was taken over.
    pub(super) fn reach(&mut self, group: &NodeId) {
        let active: Vec<String> = (self.state.active.iter())
            .filter_map(|id| self.whereabouts(id))
            .filter_map(|(its, container)| (its == *group).then_some(container))
            .collect();
        for name in active {
            self.need(group, &name);
        }
    }

    /// Asks for the containers that the first steps, and the next ones, will need.
    pub(super) fn look(&mut self, group: &NodeId) {
        let Some(entry) = self.groups.get(group) else {
            return;
        };
        if entry.next == 0 && entry.reached == 0 {
            let mut first = Vec::new();
            first_containers(&self.state, group, &mut first);
            for name in first {
                self.ask(group, &name);
            }
        }
        loop {
            let Some(entry) = self.groups.get_mut(group) else {
                return;
            };
            entry.next = entry.next.max(entry.reached);
            if entry.next >= entry.reached.saturating_add(self.ahead) {
                return;
            }
            let Some(container) = entry.spec.containers.get(entry.next) else {
                return;
            };
            let name = container.name.clone();
            entry.next += 1;
            self.ask(group, &name);
        }
    }

    /// The attempt in this container is settled: one that has rested longer than some others is let go.
    pub(super) fn rest(&mut self, group: &NodeId, name: &str) {
        let used = self.state.active.iter().any(|id| {
            let place = self.whereabouts(id);
            place.is_some_and(|(its, container)| its == *group && container == name)
        });
        if used {
            return;
        }
        let ahead = self.ahead;
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        entry.rested.retain(|rested| rested != name);
        entry.rested.push_back(name.to_owned());
        while entry.rested.len() > ahead
            && let Some(name) = entry.rested.pop_front()
        {
            entry.minded.remove(&name);
            let connection = entry.connection();
            let Some(container) = entry.containers.get_mut(&name) else {
                continue;
            };
            container.session.cut();
            if let Some(channel) = container.channel.take() {
                entry.by_channel.remove(&channel);
                if let Some(connection) = connection {
                    self.out.push_back(Action::Send {
                        connection,
                        channel,
                        frame: Frame::Close("its step is over".to_owned()),
                    });
                }
            }
        }
    }
}
