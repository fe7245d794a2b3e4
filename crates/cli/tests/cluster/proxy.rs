//! A way over loopback that can be cut, slowed down and frozen: what a network does.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Between two bytes of a body that drips: well below the patience of whoever reads it.
const DRIP: Duration = Duration::from_secs(5);

/// What it does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// They pass.
    Open,
    /// Heads of answers pass, their bodies come byte by byte: nobody's patience ends, and nothing is ever answered.
    Drip,
    /// Connections end, new ones at once.
    Cut,
    /// They pass after a while each.
    Slow(Duration),
}

struct State {
    way: Way,
    /// Connections before this one are dead without anybody being told.
    frozen: u64,
    next: u64,
    sockets: Vec<TcpStream>,
}

/// It. What goes through ends with the test.
#[derive(Clone)]
pub(crate) struct Proxy {
    state: Arc<(Mutex<State>, Condvar)>,
    pub(crate) port: u16,
}

impl Proxy {
    /// One to a port of loopback.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let here = listener.local_addr().expect("its address").port();
        let state = State {
            way: Way::Open,
            frozen: 0,
            next: 0,
            sockets: Vec::new(),
        };
        let proxy = Self {
            state: Arc::new((Mutex::new(state), Condvar::new())),
            port: here,
        };
        let accepting = proxy.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let proxy = accepting.clone();
                std::thread::spawn(move || proxy.connection(&socket, port));
            }
        });
        proxy
    }

    pub(crate) fn open(&self) {
        self.become_(Way::Open);
    }

    pub(crate) fn drip(&self) {
        self.become_(Way::Drip);
    }

    pub(crate) fn slow(&self, by: Duration) {
        self.become_(Way::Slow(by));
    }

    /// Ends every connection, and refuses new ones until [`Proxy::open`].
    pub(crate) fn cut(&self) {
        self.become_(Way::Cut);
        for socket in self.lock().sockets.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Connections that stand carry nothing any more and say nothing of it; new ones work.
    pub(crate) fn freeze(&self) {
        let mut state = self.lock();
        state.frozen = state.next;
    }

    fn become_(&self, way: Way) {
        self.lock().way = way;
        self.state.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().expect("nobody panics with it")
    }

    fn connection(&self, near: &TcpStream, port: u16) {
        let number = {
            let mut state = self.lock();
            state.next += 1;
            state.next - 1
        };
        if !self.may_pass(number) {
            return;
        }
        let Ok(far) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))) else {
            return;
        };
        let both = [near, &far].map(|s| s.try_clone().expect("a socket"));
        self.lock().sockets.extend(both);
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        std::thread::scope(|scope| {
            scope.spawn(|| self.copy(number, near, &far, false));
            scope.spawn(|| self.copy(number, &far, near, true));
        });
    }

    fn copy(&self, number: u64, mut from: &TcpStream, mut to: &TcpStream, answers: bool) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut bytes = &buffer[..count];
            if answers {
                bytes = self.dripped(bytes, to);
            }
            if !self.may_pass(number) || to.write_all(bytes).is_err() {
                break;
            }
        }
        if !self.is_frozen(number) {
            let _ = to.shutdown(Shutdown::Write);
        }
    }

    /// While bodies drip: lets these bytes through one by one; what is left of them once the way is another one.
    fn dripped<'a>(&self, bytes: &'a [u8], mut to: &TcpStream) -> &'a [u8] {
        let head = bytes.windows(4).position(|end| end == b"\r\n\r\n");
        let mut passed = head.map_or(0, |at| at + 4);
        let mut state = self.lock();
        let mut written = 0;
        while state.way == Way::Drip && passed <= bytes.len() {
            if to.write_all(&bytes[written..passed]).is_err() {
                break;
            }
            written = passed;
            passed += 1;
            let drip = self.state.1.wait_timeout(state, DRIP);
            state = drip.expect("nobody panics with it").0;
        }
        &bytes[written..]
    }

    fn is_frozen(&self, number: u64) -> bool {
        number < self.lock().frozen
    }

    /// Waits until bytes of this connection may go on; false: never.
    fn may_pass(&self, number: u64) -> bool {
        let mut state = self.lock();
        loop {
            match state.way {
                // What is frozen stays so to the end of the test.
                _ if number < state.frozen => {}
                Way::Open | Way::Drip => return true,
                Way::Cut => return false,
                Way::Slow(by) => {
                    drop(state);
                    std::thread::sleep(by);
                    return true;
                }
            }
            state = self.state.1.wait(state).expect("nobody panics with it");
        }
    }
}
