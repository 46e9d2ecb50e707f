//! The program's standard streams: what the shim holds of them and how output reaches the log.

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use pontoon_runtime::ContainerSpec;
use pontoon_runtime::log::{LineCutter, LogStream, LogWriter, Rotation};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use crate::limits::PIPE_READ_BYTES;

/// What becomes the program's descriptors 0, 1 and 2.
#[derive(Debug)]
pub(super) struct ProgramEnds {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    pub terminal: bool,
}

/// One stream of output.
#[derive(Debug)]
pub(super) struct Output {
    pub source: OwnedFd,
    /// Whether every writer has closed it.
    pub ended: bool,
    stream: LogStream,
    cutter: LineCutter,
}

/// The shim's side.
#[derive(Debug)]
pub(super) struct ShimEnds {
    log: LogWriter,
    pub outputs: Vec<Output>,
    /// Kept open so that a program which reads waits instead of seeing the end.
    _stdin: Option<OwnedFd>,
    complained: bool,
}

impl ShimEnds {
    pub(super) fn open(spec: &ContainerSpec) -> io::Result<Self> {
        let log = LogWriter::open(&spec.log_path, Rotation::KUBELET).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("{}: {error}", spec.log_path.display()),
            )
        })?;
        Ok(Self {
            log,
            outputs: Vec::new(),
            _stdin: None,
            complained: false,
        })
    }

    /// Makes the streams and keeps this side of them.
    pub(super) fn program_ends(&mut self, spec: &ContainerSpec) -> io::Result<ProgramEnds> {
        if spec.tty {
            let pty = nix::pty::openpty(None, None)?;
            close_on_exec(&pty.master)?;
            close_on_exec(&pty.slave)?;
            let (stdin, stdout) = (pty.slave.try_clone()?, pty.slave.try_clone()?);
            self.keep(pty.master, LogStream::Stdout)?;
            return Ok(ProgramEnds {
                stdin,
                stdout,
                stderr: pty.slave,
                terminal: true,
            });
        }
        let (from_stdout, stdout) = pipe2(OFlag::O_CLOEXEC)?;
        let (from_stderr, stderr) = pipe2(OFlag::O_CLOEXEC)?;
        self.keep(from_stdout, LogStream::Stdout)?;
        self.keep(from_stderr, LogStream::Stderr)?;
        let stdin = if spec.stdin {
            let (stdin, kept) = pipe2(OFlag::O_CLOEXEC)?;
            self._stdin = Some(kept);
            stdin
        } else {
            File::open("/dev/null")?.into()
        };
        Ok(ProgramEnds {
            stdin,
            stdout,
            stderr,
            terminal: false,
        })
    }

    fn keep(&mut self, source: OwnedFd, stream: LogStream) -> io::Result<()> {
        fcntl(&source, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        self.outputs.push(Output {
            source,
            ended: false,
            stream,
            cutter: LineCutter::default(),
        });
        Ok(())
    }

    /// Copies what one stream has to the log; false when it has ended.
    pub(super) fn copy_once(&mut self, index: usize) -> bool {
        let mut buffer = [0; PIPE_READ_BYTES];
        let output = &mut self.outputs[index];
        match nix::unistd::read(&output.source, &mut buffer) {
            Ok(0) | Err(Errno::EIO) => false, // A terminal whose program has gone answers EIO.
            Ok(length) => {
                let written = output.cutter.push(
                    &mut self.log,
                    Timestamp::now(),
                    output.stream,
                    &buffer[..length],
                );
                self.complain(written);
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            Err(_) => false,
        }
    }

    /// Copies what is left after every writer has died, and ends the last lines.
    pub(super) fn drain(&mut self) {
        for index in 0..self.outputs.len() {
            while is_readable(&self.outputs[index].source) && self.copy_once(index) {}
            let output = &mut self.outputs[index];
            let written = output
                .cutter
                .finish(&mut self.log, Timestamp::now(), output.stream);
            self.complain(written);
        }
    }

    /// A full disk loses log lines; it must not block the program. It is said once, not for each line.
    fn complain(&mut self, written: io::Result<()>) {
        if let Err(error) = written
            && !self.complained
        {
            self.complained = true;
            eprintln!("log lines are lost: {error}");
        }
    }
}

fn is_readable(source: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut fds = [PollFd::new(source.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO) == Ok(1)
}

fn close_on_exec(fd: &OwnedFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(())
}
