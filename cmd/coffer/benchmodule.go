package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// throwAway says how a kind of module gets a token that nobody misses.
var throwAway = []struct {
	name   string
	maker  string // C_GetInfo's manufacturer
	env    string // variable that names the configuration; none: the configuration is what C_Initialize is given
	file   string
	config func(dir string) string
	args   []string // of the host
	soPIN  string   // of the token as it is made
}{
	{"Coffer", "Coffer", "COFFER_CONF", "coffer.toml", func(dir string) string {
		return fmt.Sprintf("[[slot]]\nid = 0\npath = %q\n", filepath.Join(dir, "token.db"))
	}, nil, benchSOPIN},
	{"SoftHSM", "SoftHSM", "SOFTHSM2_CONF", "softhsm2.conf", func(dir string) string {
		return "directories.tokendir = " + dir + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	}, nil, benchSOPIN},
	// Of NSS's two slots the second has a store and a user. Its token is there from the start, without a PIN.
	{"NSS", "Mozilla Foundation", "", "", func(dir string) string {
		return "configdir='sql:" + dir + "' certPrefix='' keyPrefix='' secmod='' flags="
	}, []string{"--slot", "2"}, ""},
}

// What a throw-away token is called and opened with. Nothing of worth is ever on it.
const (
	benchLabel   = "coffer-bench"
	benchUserPIN = "bench-user-pin"
	benchSOPIN   = "bench-officer-pin"
)

// How long a host may take to end. One with a user's own token removes what it made.
const (
	benchGraceThrowAway = 5 * time.Second
	benchGraceOwnToken  = 2 * time.Minute
)

// benchModule is a module under measurement: who it is, its token, and the host that has it loaded.
type benchModule struct {
	Name         string `json:"name"`
	Path         string `json:"path"`
	Manufacturer string `json:"manufacturer"`
	Description  string `json:"description"`
	Version      string `json:"version"`
	Cryptoki     string `json:"cryptoki"`
	FileSystem   string `json:"file_system,omitempty"` // of the throw-away token

	binary string
	args   []string
	env    []string
	dir    string // of the throw-away token; empty: the token is the user's own
	host   *benchHost
	limit  time.Duration // for one measurement with all its preparations
	gone   map[string]benchRun
	lost   error // the module could not be opened again

	openssl bool // no module at all: `openssl speed`

	nodes   []*exec.Cmd // whose token it is; none: the module's own
	nodeDir string
}

// newBenchModule asks a module who it is and prepares its token.
func (a *app) newBenchModule(ctx context.Context, host, path string, o benchOptions) (*benchModule, error) {
	return a.newBenchModuleWith(ctx, host, path, o, nil)
}

// newBenchModuleWith is newBenchModule with something else done to the token, once it is there.
func (a *app) newBenchModuleWith(ctx context.Context, host, path string, o benchOptions, then func(context.Context, *benchModule) error) (*benchModule, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, notFound("the module %s cannot be read: %v", "check the path", path, err)
	}
	m := &benchModule{Path: path, binary: host, gone: map[string]benchRun{},
		args:  []string{"--module", path, "--setup-limit", fmt.Sprint(o.setupLimit.Seconds())},
		limit: 2*o.setupLimit + time.Duration(10*o.seconds*float64(time.Second)) + time.Minute}
	if m.dir, err = os.MkdirTemp("", "coffer-bench-"); err != nil {
		return nil, failed("there is no room for a throw-away token: %v", "set TMPDIR to a directory on a disk", err)
	}
	err = m.prepare(ctx, a, o)
	if err == nil && then != nil {
		err = then(ctx, m)
	}
	if err == nil {
		err = m.start(ctx)
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// prepare finds out who the module is and gives it a token.
func (m *benchModule) prepare(ctx context.Context, a *app, o benchOptions) error {
	m.env = append(os.Environ(), "COFFER_PIN="+benchUserPIN)
	for _, k := range throwAway {
		if k.env == "" {
			m.args = append(m.args, "--parameters", k.config(m.dir))
			continue
		}
		file := filepath.Join(m.dir, k.file)
		if err := os.WriteFile(file, []byte(k.config(m.dir)), 0o600); err != nil {
			return failed("a throw-away token cannot be made: %v", "set TMPDIR to a directory on a disk", err)
		}
		m.env = append(m.env, k.env+"="+file)
	}
	out, err := runBenchHost(ctx, m.binary, m.env, append([]string{"--info"}, m.args...)...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, m); err != nil {
		return failed("the measuring host answered %q", "build it and this program with make", out)
	}
	for _, k := range throwAway {
		if m.Manufacturer == k.maker {
			m.Name = k.name
			m.FileSystem = fileSystem(m.dir)
			m.args = append(append(m.args, "--leave-objects"), k.args...)
			return m.initialise(ctx, k.soPIN)
		}
	}
	return m.useToken(a, o.token)
}

// initialise makes the throw-away token, or gives the one that is there a PIN.
func (m *benchModule) initialise(ctx context.Context, soPIN string) error {
	_, err := runBenchHost(ctx, m.binary, append(m.env, "COFFER_SO_PIN="+soPIN), append([]string{"--init", benchLabel}, m.args...)...)
	return err
}

// useToken takes a token of the user's.
func (m *benchModule) useToken(a *app, label string) error {
	m.Name = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(m.Path), "lib"), ".so")
	os.RemoveAll(m.dir)
	m.dir = ""
	if label == "" {
		return usage("the module %s needs a token, and only Coffer, SoftHSM2 and NSS get throw-away ones",
			"name a token with --token; what is made on it is removed again", m.Path)
	}
	pin, err := a.pin(pinUser, false)
	if err != nil {
		return err
	}
	m.args = append(m.args, "--token", label)
	m.env = append(os.Environ(), "COFFER_PIN="+string(pin.Expose()))
	return nil
}

// start starts a host and waits until it has opened the module and logged in.
func (m *benchModule) start(ctx context.Context) error {
	h, err := startBenchHost(m.binary, m.env, append([]string{"--serve"}, m.args...)...)
	if err != nil {
		return err
	}
	m.host = h
	if _, err := h.line(ctx, benchOneAnswer); err != nil {
		return failed("the module %s cannot be measured: %v", "check the token's label and PIN", m.Path, err)
	}
	return nil
}

// measure makes one measurement. An operation that failed once is not tried again. A host that crashed or hung is
// replaced for the next one.
func (m *benchModule) measure(ctx context.Context, op string, threads int, seconds float64) benchRun {
	if r, ok := m.gone[op]; ok {
		return r
	}
	r, err := m.attempt(ctx, op, threads, seconds)
	if err != nil {
		r = benchRun{Error: explain(err).text}
		m.stop()
	}
	if r.failed() {
		m.gone[op] = r
	}
	return r
}

func (m *benchModule) attempt(ctx context.Context, op string, threads int, seconds float64) (benchRun, error) {
	if m.openssl {
		return m.opensslMeasure(ctx, op, threads, seconds), nil
	}
	// Opening is not tried twice: each try with a PIN that is wrong by now would bring the token nearer to its lock.
	if m.host == nil && m.lost == nil {
		m.lost = m.start(ctx)
	}
	if m.lost != nil {
		return benchRun{}, m.lost
	}
	return m.host.measure(ctx, op, threads, seconds, m.limit)
}

func (m *benchModule) stop() {
	if m.host == nil {
		return
	}
	grace := benchGraceOwnToken
	if m.dir != "" {
		grace = benchGraceThrowAway
	}
	m.host.stop(grace)
	m.host = nil
}

// close ends the host and removes the throw-away token.
func (m *benchModule) close() {
	m.stop()
	m.endNodes()
	if m.dir != "" {
		os.RemoveAll(m.dir)
	}
}

// nameApart numbers modules of the same name.
func nameApart(modules []*benchModule) {
	seen := map[string]int{}
	for _, m := range modules {
		if seen[m.Name]++; seen[m.Name] > 1 {
			m.Name = fmt.Sprintf("%s (%d)", m.Name, seen[m.Name])
		}
	}
}
