package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/spf13/cobra"
)

// app is one run of the program: what it was told, and where it reads and writes.
type app struct {
	in     io.Reader
	out    io.Writer
	errOut io.Writer
	env    func(string) string
	open   func(config.Slot) (hsm.HSM, error)

	slotID     uint
	slotGiven  bool
	configFile string
	output     string
	userName   string // who logs in as crypto user; empty: the token's own
	socket     string // of a node on this machine, in place of a slot
	adminName  string // the same for the administrator

	pinFlags map[pinKind]*pinFlags
	pins     map[pinKind]*secret.Bytes // what was read already; wiped at the end
}

func newApp(in io.Reader, out, errOut io.Writer, env func(string) string) *app {
	return &app{in: in, out: out, errOut: errOut, env: env,
		pinFlags: map[pinKind]*pinFlags{}, pins: map[pinKind]*secret.Bytes{}}
}

// commands is the list of commands, in the order of the help. A new command is a file and a line here.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.tokenCommand(),
		a.pinCommand(),
		a.userCommand(),
		a.clusterCommand(),
		a.nodeCommand(),
		a.keyCommand(),
		a.migrateCommand(),
		a.signCommand(),
		a.verifyCommand(),
		a.encryptCommand(),
		a.decryptCommand(),
		a.mechanismsCommand(),
		a.selfTestCommand(),
		a.doctorCommand(),
		a.benchCommand(),
		a.completionCommand(),
		a.manualCommand(),
		a.versionCommand(),
	}
}

// run executes a command line and returns the exit code.
func (a *app) run(args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.errOut)
	err := root.Execute()
	for _, pin := range a.pins {
		pin.Zero()
	}
	return int(a.report(err))
}

func (a *app) rootCommand() *cobra.Command {
	root := group(&cobra.Command{
		Use:   "coffer",
		Short: "An open HSM in software",
		Long: `Coffer keeps keys in tokens that applications use through PKCS #11, the standard interface of hardware security
modules. This command makes and manages tokens and keys.

A first token and a first signature:

  coffer token init --label demo
  coffer key generate --type ec:p256 --label web
  coffer sign --key web --out web.sig letter.txt
  coffer verify --key web --signature web.sig letter.txt

PINs are never given as arguments. In this order they come from --pin-fd, from --pin-file, from COFFER_PIN in the
environment, or from a prompt.

Exit codes:

` + exitHelp(),
	}, a.commands()...)
	root.CompletionOptions.DisableDefaultCmd = true // completion.go
	root.Version = versionOf().String()
	root.SetVersionTemplate("{{.Version}}\n")
	root.SilenceErrors = true
	root.SilenceUsage = true
	root.SetFlagErrorFunc(flagError)

	flags := root.PersistentFlags()
	flags.UintVar(&a.slotID, "slot", 0, "`ID` of the slot (default: the only one, or 0)")
	flags.StringVar(&a.configFile, "config", "", "configuration `FILE` (default: as the library finds it)")
	flags.StringVar(&a.output, "output", "text", "`FORMAT` of what is printed: text or json")
	flags.StringVar(&a.socket, "socket", "", "`PATH` of the socket of a node on this machine, in place of a slot")
	flags.StringVar(&a.userName, "user", "", "`NAME` of the crypto user who logs in (default: the token's own)")
	flags.StringVar(&a.adminName, "admin", "", "`NAME` of the administrator who logs in (default: the token's own)")
	a.addPINFlags(flags, pinUser)

	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		a.slotGiven = cmd.Flags().Changed("slot")
		if a.output != "text" && a.output != "json" {
			wrong := a.output
			a.output = "text"
			return usage("--output %q is not known", "use text or json", wrong)
		}
		return nil
	}
	return root
}

// group makes a command that only holds others. Called without one of them it shows its help; called with a word that
// is none of them, it says so.
func group(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(children...)
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := "see " + cmd.CommandPath() + " --help"
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean " + strings.Join(near, " or ") + "? " + hint
		}
		return usage("%s has no command %q", hint, cmd.CommandPath(), args[0])
	}
	return cmd
}

// arguments checks how many words follow a command. what names them as the help does.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usage("%s is missing", "see "+cmd.CommandPath()+" --help", what)
		case len(args) > most && most == 0:
			return usage("%s takes no argument, but here is %q", "see "+cmd.CommandPath()+" --help", cmd.CommandPath(), args[0])
		case len(args) > most:
			return usage("there are %d arguments, but %s takes only %s", "see "+cmd.CommandPath()+" --help", len(args), cmd.CommandPath(), what)
		}
		return nil
	}
}

func flagError(cmd *cobra.Command, err error) error {
	text := err.Error()
	for _, wrong := range []string{"--pin", "--so-pin", "--new-pin", "--from-pin"} {
		if text == "unknown flag: "+wrong {
			return usage("a PIN is never an argument: other users of the machine could read it",
				fmt.Sprintf("use %s-file or %s-fd, or leave it out and be asked", wrong, wrong))
		}
	}
	return usage("%s", "see "+cmd.CommandPath()+" --help", text)
}

// settings reads the configuration.
func (a *app) settings() (*config.Config, error) {
	if a.configFile != "" {
		return config.FromFile(a.configFile)
	}
	return config.FromProcess()
}

// chosenSlot returns the slot that the command is about.
func (a *app) chosenSlot() (config.Slot, error) {
	if a.socket != "" {
		path, err := filepath.Abs(a.socket)
		return config.Slot{Socket: path, Timeout: config.DefaultTimeout}, err
	}
	c, err := a.settings()
	if err != nil {
		return config.Slot{}, err
	}
	if !a.slotGiven && len(c.Slots) == 1 {
		return c.Slots[0], nil
	}
	if slot, ok := c.Slot(a.slotID); ok {
		return slot, nil
	}
	var ids []string
	for _, s := range c.Slots {
		ids = append(ids, fmt.Sprint(s.ID))
	}
	if !a.slotGiven {
		return config.Slot{}, usage("there is more than one slot", "say which with --slot: "+strings.Join(ids, ", "))
	}
	return config.Slot{}, notFound("there is no slot %d", "configured are: "+strings.Join(ids, ", "), a.slotID)
}

// interactive reports whether a person can be asked.
func (a *app) interactive() bool {
	f, ok := a.in.(*os.File)
	return ok && isTerminal(f)
}
