package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// member is a running share.c or hunt.c.
type member struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
	err bytes.Buffer
}

// until returns the lines before the one that is end.
func (m *member) until(end string) (lines []string) {
	m.t.Helper()
	for m.out.Scan() {
		if m.out.Text() == end {
			return lines
		}
		lines = append(lines, strings.TrimSpace(strings.TrimPrefix(m.out.Text(), "- ")))
	}
	m.t.Fatalf("no %q, but %q, %v\n%s", end, lines, m.cmd.Wait(), &m.err)
	return nil
}

func (m *member) signal(letter string) {
	m.t.Helper()
	_, err := io.WriteString(m.in, letter)
	check(m.t, err)
}

// member starts a host; files are its descriptors from 3 on.
func (s *slot) member(t testing.TB, name string, files []*os.File, args ...string) *member {
	t.Helper()
	m := &member{t: t, cmd: s.host(t, name, nil, args...)}
	m.cmd.ExtraFiles, m.cmd.Stderr = files, &m.err
	var err error
	m.in, err = m.cmd.StdinPipe()
	check(t, err)
	out, err := m.cmd.StdoutPipe()
	check(t, err)
	m.out = bufio.NewScanner(out)
	check(t, m.cmd.Start())
	late := time.AfterFunc(limit, func() { _ = m.cmd.Process.Kill() })
	t.Cleanup(func() { late.Stop(); _ = m.cmd.Process.Kill() })
	return m
}

// ring starts processes each of which has a pipe to the next.
func (s *slot) ring(t testing.TB, processes, objects int) []*member {
	t.Helper()
	type pipe struct{ r, w *os.File }
	pipes := make([]pipe, processes)
	for i := range pipes {
		var err error
		pipes[i].r, pipes[i].w, err = os.Pipe()
		check(t, err)
	}
	members := make([]*member, processes)
	for i := range members {
		m := s.member(t, "share", []*os.File{pipes[i].w, pipes[(i+processes-1)%processes].r},
			userPIN, strconv.Itoa(i), strconv.Itoa(processes), strconv.Itoa(objects))
		members[i] = m
	}
	for _, p := range pipes {
		_ = p.r.Close()
		_ = p.w.Close()
	}
	return members
}

// TestProcessesSeeEachOthersChangesAtOnce runs four processes with two threads each on one token.
func TestProcessesSeeEachOthersChangesAtOnce(t *testing.T) {
	t.Parallel()
	const processes, objects = 4, 60
	s := newToken(t)
	a := s.user(t)
	a.want(pkcs11.CKR_OK, "secret shared nobody")
	members := s.ring(t, processes, objects)
	for _, m := range members {
		m.until("ready")
	}
	start := time.Now()
	for _, m := range members {
		m.signal("g")
	}
	for _, m := range members {
		m.until("done")
	}
	took := time.Since(start)
	for _, m := range members {
		m.signal("r")
	}
	var all [][]string
	for _, m := range members {
		list := m.until("end")
		slices.Sort(list)
		all = append(all, list)
		_ = m.in.Close()
		if err := m.cmd.Wait(); err != nil || m.err.Len() > 0 {
			t.Errorf("%v\n%s", err, &m.err)
		}
	}
	fresh := s.user(t)
	all = append(all, a.list(), fresh.list())
	for i, list := range all[1:] {
		if !slices.Equal(list, all[0]) {
			t.Errorf("process %d finds\n%q, the first one\n%q", i+1, list, all[0])
		}
	}
	want := slices.Clone(contents)
	for p := range processes {
		for n := range objects {
			label := fmt.Sprintf("p%d-%d", p, n)
			if n%2 == 1 {
				want = append(want, fmt.Sprintf("0 %s %s/%d", label, label, processes))
			}
			if n%10 == 1 {
				want = append(want, "2 "+label, "3 "+label)
			}
		}
	}
	slices.Sort(want)
	got := slices.DeleteFunc(slices.Clone(all[0]), func(line string) bool { return strings.HasPrefix(line, "0 shared p") })
	if len(got) != len(all[0])-1 || !slices.Equal(got, want) {
		t.Errorf("at the end the token holds %q, expected %q", all[0], want)
	}
	s.wantSound(t)
	commits := processes * objects * (1 + 3 + 4)
	t.Logf("%d objects went round, about %d commits in %v", processes*objects, commits, took)
}
