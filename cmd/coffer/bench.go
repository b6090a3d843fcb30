package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// benchOptions is what a comparison was asked for.
type benchOptions struct {
	module     string
	peers      []string
	nodes      []string // words of benchSites
	openssl    bool     // `openssl speed` beside
	token      string
	threads    []int
	seconds    float64
	rounds     int
	operations []string
	quick      bool
	setupLimit time.Duration
}

// Limits of the options; the measuring host has the same.
const (
	benchMaxThreads = 256
	benchMaxSeconds = 3600
	benchMaxRounds  = 1000
)

// What --quick means, where the options do not say otherwise.
const (
	benchQuickSeconds = 0.05
	benchQuickObjects = 1000 // operations that need more objects are left out
)

func (a *app) benchCommand() *cobra.Command {
	var o benchOptions
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this module, beside others",
		Long: `Measures how many operations a second a PKCS #11 module does, through its C interface as an application uses it, and
compares it with other modules: each measurement is made for all of them in turn, and that again in each round.

Coffer, SoftHSM2 and NSS get throw-away tokens in the directory for temporary files. For any other module name a token of
its own with --token; the PIN comes from where it always comes from. What is made on that token is removed again.

A full run with one --vs takes some fifteen minutes; --quick gives a first impression in about one.`,
		Example: `  coffer bench --quick
  coffer bench --vs /usr/lib/softhsm/libsofthsm2.so
  coffer bench --vs /usr/lib/x86_64-linux-gnu/libsoftokn3.so --openssl
  coffer bench --operations sign-p256,find-10000 --threads 1,4 --rounds 5 --output json`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.quick {
				o.hurry(cmd.Flags().Changed)
			}
			if err := o.check(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			return a.bench(ctx, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.module, "module", "", "`PATH` of the module (default: Coffer's, as installed with this program)")
	flags.StringArrayVar(&o.peers, "vs", nil, "`PATH` of a module to compare with; may be given several times")
	flags.StringSliceVar(&o.nodes, "nodes", nil, "`KINDS` of nodes to compare with, made for it: socket, tls, three")
	flags.BoolVar(&o.openssl, "openssl", false, "what openssl speed says beside, where it measures the like")
	flags.StringVar(&o.token, "token", "", "`LABEL` of the token for modules other than Coffer, SoftHSM2 and NSS")
	flags.IntSliceVar(&o.threads, "threads", []int{1, 2, 8}, "`NUMBERS` of threads")
	flags.Float64Var(&o.seconds, "seconds", 1, "`SECONDS` that one measurement takes")
	flags.IntVar(&o.rounds, "rounds", 3, "`NUMBER` of times that each measurement is made")
	flags.StringSliceVar(&o.operations, "operations", nil, "`NAMES` of operations (default: all); see docs/benchmark.md")
	flags.BoolVar(&o.quick, "quick", false, "one short round, with one thread, without the largest tokens")
	flags.DurationVar(&o.setupLimit, "setup-limit", 2*time.Minute, "`TIME` that making an operation's objects may take")
	return cmd
}

// hurry shortens what was not asked for by itself.
func (o *benchOptions) hurry(given func(flag string) bool) {
	if !given("threads") {
		o.threads = []int{1}
	}
	if !given("seconds") {
		o.seconds = benchQuickSeconds
	}
	if !given("rounds") {
		o.rounds = 1
	}
}

func (o *benchOptions) check() error {
	for _, n := range o.threads {
		if n < 1 || n > benchMaxThreads {
			return usage("--threads has %d, but it must be from 1 to %d", "for example --threads 1,8", n, benchMaxThreads)
		}
	}
	switch {
	case len(o.threads) == 0:
		return usage("--threads is empty", "for example --threads 1,8")
	case !(o.seconds >= 0.001 && o.seconds <= benchMaxSeconds):
		return usage("--seconds is %g, but it must be from 0.001 to %d", "for example --seconds 0.5", o.seconds, benchMaxSeconds)
	case o.rounds < 1 || o.rounds > benchMaxRounds:
		return usage("--rounds is %d, but it must be from 1 to %d", "an odd number has a middle", o.rounds, benchMaxRounds)
	case o.setupLimit < time.Second || o.setupLimit > time.Hour:
		return usage("--setup-limit is %v, but it must be from 1s to 1h", "for example --setup-limit 5m", o.setupLimit)
	}
	return nil
}

func (a *app) bench(ctx context.Context, o benchOptions) (err error) {
	host, err := findBenchHost(a.env)
	if err != nil {
		return err
	}
	if o.module == "" {
		if o.module, err = findOwnModule(); err != nil {
			return err
		}
	}
	known, err := benchOperations(ctx, host)
	if err != nil {
		return err
	}
	operations, err := o.choose(known)
	if err != nil {
		return err
	}
	var modules []*benchModule
	defer func() {
		for _, m := range modules {
			m.close()
		}
		if ctx.Err() != nil {
			err = failed("the measurement was interrupted", "")
		}
	}()
	for _, path := range append([]string{o.module}, o.peers...) {
		m, err := a.newBenchModule(ctx, host, path, o)
		if err != nil {
			return err
		}
		modules = append(modules, m)
	}
	for _, word := range o.nodes {
		m, err := a.newBenchNodes(ctx, host, word, o)
		if err != nil {
			return err
		}
		modules = append(modules, m)
	}
	if o.openssl {
		m, err := newBenchOpenSSL(ctx)
		if err != nil {
			return err
		}
		modules = append(modules, m)
	}
	nameApart(modules)

	report := newBenchReport(o, modules)
	for i, op := range operations {
		a.progress("%s, %d of %d", op.Name, i+1, len(operations))
		for _, threads := range o.threads {
			if ctx.Err() != nil {
				return nil // the deferred function says why
			}
			report.Results = append(report.Results, benchCompare(ctx, o, modules, op, threads))
		}
	}
	a.progress("")
	return a.emit(report, report.text)
}

// choose picks the operations, in the host's order: it puts what leaves most behind last.
func (o *benchOptions) choose(known []benchOperation) ([]benchOperation, error) {
	names := make([]string, len(known))
	for i, op := range known {
		names[i] = op.Name
	}
	for _, want := range o.operations {
		if !slices.Contains(names, want) {
			return nil, usage("there is no operation %q", "there are "+strings.Join(names, ", "), want)
		}
	}
	return slices.DeleteFunc(known, func(op benchOperation) bool {
		if len(o.operations) == 0 {
			return o.quick && op.Objects > benchQuickObjects
		}
		return !slices.Contains(o.operations, op.Name)
	}), nil
}

// progress tells a waiting person what is going on, in a line that the next one replaces.
func (a *app) progress(format string, args ...any) {
	if f, ok := a.errOut.(*os.File); ok && isTerminal(f) {
		fmt.Fprintf(f, "\r\x1b[K"+format, args...)
	}
}
