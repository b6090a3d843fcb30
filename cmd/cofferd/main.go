// Command cofferd is a node: it holds the keys in a process of its own and serves them to programs on this machine over a
// unix socket, and to others and to the other nodes of its cluster over TLS. "coffer cluster create" and "coffer cluster
// join" make what it runs on; docs/cluster.md is for those who run it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/mech/rsa/kernel"
	"github.com/coffer-hsm/coffer/core/release"
)

// flags are what the command line says.
type flags struct {
	config    string
	logFormat string
	unsealFD  int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "cofferd: "+sentence(err))
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "cofferd",
		Short: "A node of Coffer, an HSM in software",
		Long: `Runs the node whose state directory "coffer cluster create" or "coffer cluster join" has made, until it gets SIGTERM.
SIGHUP has it read its log level again. The log goes to standard error.`,
		Example:       "  cofferd --config /etc/coffer/cofferd.toml",
		Args:          cobra.NoArgs,
		Version:       release.Name(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return start(cmd.Context(), f) },
	}
	cmd.Flags().StringVar(&f.config, "config", "", "configuration `FILE` (default: "+config.NodeFile+")")
	cmd.Flags().StringVar(&f.logFormat, "log-format", "text", "`FORMAT` of the log: text or json")
	cmd.Flags().IntVar(&f.unsealFD, "unseal-fd", -1, "file descriptor `N` to read the passphrase or the shares from")
	return cmd
}

func start(ctx context.Context, f flags) error {
	kernel.Together(func() time.Duration { runtime.Gosched(); return 0 }, 0)
	conf, err := config.LoadNode(f.config)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	level.Set(levels[conf.LogLevel])
	log, err := newLog(os.Stderr, f.logFormat, level)
	if err != nil {
		return err
	}
	paceCollector()
	protectMemory(log)
	return (&daemon{flags: f, conf: conf, log: log, level: level}).run(ctx)
}

// sentence is an error as an operator reads it.
func sentence(err error) string {
	var c *config.Error
	if errors.As(err, &c) {
		return c.Place() + c.Text + "\nhint: " + c.Hint
	}
	return err.Error()
}
