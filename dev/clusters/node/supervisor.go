package node

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// program is one daemon of a node.
type program struct {
	name string // of its log
	argv []string
	env  []string // besides the node's own
}

// supervisor starts programs, starts them again when they end, and reaps whatever loses its parent. exec.Cmd cannot be
// used beside it: both would wait for the same children.
type supervisor struct {
	logs   string
	logger *slog.Logger

	mu      sync.Mutex
	running map[int]*started
}

type started struct {
	program program
	since   time.Time
}

func newSupervisor(logs string, logger *slog.Logger) *supervisor {
	s := &supervisor{logs: logs, logger: logger, running: map[int]*started{}}
	go s.reap()
	return s
}

func (s *supervisor) start(p program) error {
	log, err := os.OpenFile(filepath.Join(s.logs, p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	command := strings.Join(append(append([]string(nil), p.env...), p.argv...), " \\\n  ")
	if err := os.WriteFile(filepath.Join(s.logs, p.name+".command"), []byte(command+"\n"), 0o600); err != nil {
		return err
	}
	s.mu.Lock() // until it is noted: it may end at once
	defer s.mu.Unlock()
	process, err := os.StartProcess(p.argv[0], p.argv, &os.ProcAttr{
		Env: append(os.Environ(), p.env...), Files: []*os.File{null, log, log}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	s.running[process.Pid] = &started{p, time.Now()}
	s.logger.Info("started", "program", p.name, "pid", process.Pid)
	return process.Release()
}

func (s *supervisor) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.ECHILD) {
			time.Sleep(100 * time.Millisecond) // before the first one there is nothing to wait for
			continue
		}
		if err != nil {
			continue
		}
		s.mu.Lock()
		ended := s.running[pid]
		delete(s.running, pid)
		s.mu.Unlock()
		if ended != nil {
			s.logger.Warn("ended; will start again", "program", ended.program.name, "pid", pid,
				"exit", status.ExitStatus(), "signal", status.Signal())
			go s.restart(ended)
		}
	}
}

// restart waits a second first, five when the program did not last ten.
func (s *supervisor) restart(ended *started) {
	pause := time.Second
	if time.Since(ended.since) < 10*time.Second {
		pause = 5 * time.Second
	}
	time.Sleep(pause)
	if err := s.start(ended.program); err != nil {
		s.logger.Error("cannot start again", "program", ended.program.name, "err", err)
	}
}
