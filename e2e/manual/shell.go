package manual

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long one line may take: one may compile, push, or wait for a cluster.
const patience = 10 * time.Minute

// Shell is the shell of somebody who types: what a line sets, and where it goes, the next one finds.
type Shell struct {
	command *exec.Cmd
	lines   *os.File
	codes   *os.File
	read    *bufio.Reader // of codes
	said    *os.File
	seen    int64
}

// loop types what comes by 3, each line ended by a zero byte, and answers by 4 with its exit code.
const loop = `while IFS= read -r -d "" line <&3; do eval "$line" </dev/null 3<&- 4>&-; printf "%s\0" $? >&4; done`

// OpenShell starts a shell in a folder with an environment, which the test's end ends.
func OpenShell(t testing.TB, folder string, env []string) *Shell {
	t.Helper()
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	theirLines, lines, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	codes, theirCodes, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &Shell{
		command: exec.Command("bash", "-c", loop), lines: lines, codes: codes, read: bufio.NewReader(codes), said: said,
	}
	s.command.Dir, s.command.Env = folder, env
	s.command.Stdout, s.command.Stderr = said, said
	s.command.ExtraFiles = []*os.File{theirLines, theirCodes}
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirLines.Close(), theirCodes.Close()
	t.Cleanup(func() {
		_ = syscall.Kill(-s.command.Process.Pid, syscall.SIGKILL) // with what it has left; gone is as good
		_ = s.command.Wait()
		_, _, _ = lines.Close(), codes.Close(), said.Close()
	})
	return s
}

// Type types a line and returns what one sees, on both streams. A code other than 0 is an error.
func (s *Shell) Type(line string) (string, error) {
	if _, err := io.WriteString(s.lines, line+"\x00"); err != nil {
		return "", err
	}
	if err := s.codes.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	code, err := s.read.ReadString(0)
	text, readErr := io.ReadAll(io.NewSectionReader(s.said, s.seen, 1<<30))
	s.seen += int64(len(text))
	switch {
	case err != nil:
		return string(text), fmt.Errorf("no answer: %w", err)
	case readErr != nil:
		return "", readErr
	case code != "0\x00":
		return string(text), fmt.Errorf("exit code %s", strings.TrimSuffix(code, "\x00"))
	}
	return string(text), nil
}
