//! Pods, and the connections to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use addon::attempt::Now;
use addon::frame::Report;
use addon::link::Frame;
use driver::backend::Created;
use driver::core::Event;
use driver::fake;
use pipeline::plan::NodeId;
use pipeline::pod::Spec;

use super::{EPOCH_MS, Fate, Link, What, World, flaky, gone, id};

impl World {
    pub(super) fn make(&mut self, life: u64, group: &NodeId, spec: &Arc<Spec>) {
        let name = spec.name.clone();
        if self.dropped.contains(&(life, name.clone())) {
            return;
        }
        if life != 0 && self.random.chance(self.faults.flaky / 4) {
            return self.answer(life, || Event::Created {
                group: group.clone(),
                pod: name.clone(),
                result: Err(flaky()),
            });
        }
        let known = self.pods.contains_key(&name);
        if !known {
            let skew = self.random.below(self.faults.skew + 1);
            let fate = Fate {
                pod: fake::Pod::new(),
                lost: false,
                there: true,
                skew,
                born: self.now,
            };
            self.pods.insert(name.clone(), fate);
        }
        self.answer(life, || Event::Created {
            group: group.clone(),
            pod: name.clone(),
            result: Ok(if known {
                Created::AlreadyThere
            } else {
                Created::Created
            }),
        });
    }

    pub(super) fn connect(&mut self, life: u64, pod: String, connection: u32) {
        let link = id(life, connection);
        let there = self.pods.get(&pod).is_some_and(|fate| fate.there);
        let result = if !there {
            Err(gone())
        } else if self.random.chance(self.faults.flaky) {
            Err(flaky())
        } else {
            Ok(())
        };
        if result.is_ok()
            && let Some(fate) = self.pods.get_mut(&pod)
        {
            fate.pod.connect(link as u32);
            self.links.insert(
                link,
                Link {
                    life,
                    connection,
                    pod,
                    channels: BTreeMap::new(),
                    to_pod: 0,
                    from_pod: 0,
                    mute: false,
                },
            );
        }
        self.tell_to(life, Event::Connected { connection, result });
    }

    pub(super) fn reach_pod(&mut self, link: u64, channel: u32, frame: Frame) {
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        let pod = known.pod.clone();
        if let Frame::Open(container) = &frame {
            known.channels.insert(channel, container.clone());
        }
        if self.muted < self.faults.half_opens && self.random.chance(self.faults.half_open) {
            self.muted += 1;
            known.mute = true;
        }
        if known.mute {
            return;
        }
        let container = known.channels.get(&channel).cloned();
        if self.random.chance(self.faults.cut) {
            return self.cut(link);
        }
        if let Some(container) = container
            && self.killed < self.faults.addons
            && self.random.chance(self.faults.addon)
        {
            self.killed += 1;
            if let Some(fate) = self.pods.get_mut(&pod) {
                fate.pod.kill(&container);
            }
        }
        if self.random.chance(self.faults.pod) && self.lost < self.faults.pods {
            self.lost += 1;
            if let Some(fate) = self.pods.get_mut(&pod) {
                fate.lost = true;
            }
            return self.end_pod(&pod);
        }
        if self.random.chance(self.faults.lite_engine) {
            if let Some(fate) = self.pods.get_mut(&pod) {
                fate.pod.restart_lite_engine();
            }
            let links: Vec<u64> = self
                .links
                .iter()
                .filter(|(_, link)| link.pod == pod)
                .map(|(id, _)| *id)
                .collect();
            for link in links {
                self.cut(link);
            }
            return;
        }
        let now = self.clock(&pod);
        if let Some(fate) = self.pods.get_mut(&pod) {
            fate.pod.from_driver(link as u32, channel, frame, now);
        }
        self.pumped(&pod);
    }

    pub(super) fn clock(&self, pod: &str) -> Now {
        let (born, skew) = self
            .pods
            .get(pod)
            .map_or((0, 0), |fate| (fate.born, fate.skew));
        Now {
            mono_ms: self.now - born.min(self.now),
            wall_ms: EPOCH_MS + skew + self.now,
        }
    }

    /// Lets a pod do what is due, and sends what it says.
    pub(super) fn pumped(&mut self, pod: &str) {
        let now = self.clock(pod);
        let Some(fate) = self.pods.get_mut(pod).filter(|fate| fate.there) else {
            return;
        };
        fate.pod.pump(now);
        let links: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, link)| link.pod == pod)
            .map(|(id, _)| *id)
            .collect();
        for link in links {
            while let Some((channel, frame)) = self
                .pods
                .get_mut(pod)
                .and_then(|fate| fate.pod.to_driver(link as u32, now))
            {
                self.welcome(link, channel, &frame);
                if self.random.chance(self.faults.cut) {
                    self.cut(link);
                    break;
                }
                let delay = self.delay();
                let Some(known) = self.links.get_mut(&link) else {
                    break;
                };
                known.from_pod = known.from_pod.max(self.now + delay);
                let at = known.from_pod;
                self.at(at, What::FromPod(link, channel, frame));
            }
        }
        let next = self.pods.get(pod).and_then(|fate| {
            let next = fate.pod.next_ms()?;
            Some((next + fate.born).max(self.now + 1))
        });
        if let Some(at) = next
            && self.ticks.get(pod).is_none_or(|known| at < *known)
        {
            self.ticks.insert(pod.to_owned(), at);
            self.at(at, What::Tick(pod.to_owned()));
        }
    }

    /// No container welcomes a driver after a later one.
    pub(super) fn welcome(&mut self, link: u64, channel: u32, frame: &Frame) {
        let Frame::Message(body) = frame else {
            return;
        };
        let Ok(Report::Welcome { .. }) = Report::from_bytes(body) else {
            return;
        };
        let Some(known) = self.links.get(&link) else {
            return;
        };
        let Some(container) = known.channels.get(&channel) else {
            return;
        };
        let key = (known.pod.clone(), container.clone());
        let latest = self.welcomed.entry(key).or_default();
        if known.life < *latest {
            self.broken.push(format!(
                "{container} welcomed driver {} after driver {latest}: an old epoch was accepted",
                known.life
            ));
        }
        *latest = (*latest).max(known.life);
    }

    pub(super) fn cut(&mut self, link: u64) {
        let Some(known) = self.links.remove(&link) else {
            return;
        };
        let now = self.clock(&known.pod);
        // The other side of one that is mute hears of nothing.
        if let Some(fate) = self.pods.get_mut(&known.pod).filter(|_| !known.mute) {
            fate.pod.disconnect(link as u32, now);
        }
        let (life, connection) = (known.life, known.connection);
        self.later(What::Tell(life, Event::Disconnected { connection }));
        self.pumped(&known.pod);
    }

    pub(super) fn end_pod(&mut self, pod: &str) {
        let Some(fate) = self.pods.get_mut(pod).filter(|fate| fate.there) else {
            return;
        };
        fate.there = false;
        let links: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, link)| link.pod == pod)
            .map(|(id, _)| *id)
            .collect();
        for link in links {
            self.cut(link);
        }
        let watchers = std::mem::take(&mut self.watchers);
        for (life, group, name) in watchers {
            if name == pod {
                self.tell_gone(life, group, name);
            } else {
                self.watchers.push((life, group, name));
            }
        }
    }

    pub(super) fn tell_gone(&mut self, life: u64, group: NodeId, pod: String) {
        let event = Event::Gone {
            group,
            pod,
            failure: gone(),
        };
        self.later(What::Tell(life, event));
    }
}
