package main

import (
	"context"

	"github.com/spf13/cobra"
)

// migrateFlags say where keys come from, and which.
type migrateFlags struct {
	softHSM, module string
	choice          fromChoice
	only            []string
	dry             bool
	dropWrap        bool
	trusted         bool
}

func (a *app) migrateCommand() *cobra.Command {
	var f migrateFlags
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring keys and certificates from SoftHSM2 or another PKCS #11 module",
		Long: `Moves private and secret keys, public keys, certificates and data objects into the token, with their labels, ids and
usage. Nothing is changed or deleted at the source.

With --from-softhsm the files of a SoftHSM2 token are read: who has them and the PIN has all of its keys, those that are
sensitive or not extractable too. With --from-module another PKCS #11 module is loaded. What it shows is read; what is sensitive
but extractable comes wrapped under a key that both make for the occasion; what is not extractable stays, and is reported.

Each key is proven: it signs, decrypts or encrypts in the token, and the source's public key, certificate or key agrees. What is in
the token already (the same id and the same value) is not moved twice, so that a run that was interrupted is run again. A dry run
does the same with keys that are gone when it ends.

The source's PIN comes from --from-pin-fd, --from-pin-file, COFFER_FROM_PIN in the environment, or a prompt. The exit code is 1
where something was left.`,
		Example: `  coffer migrate --from-softhsm /var/lib/softhsm/tokens --dry-run
  coffer migrate --from-softhsm /var/lib/softhsm/tokens --from-token web --from-pin-file old.pin
  coffer migrate --from-module /usr/lib/softhsm/libsofthsm2.so --from-token web --only label=server
  coffer migrate --from-softhsm /var/lib/softhsm/tokens --output json`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.choice.slotGiven = cmd.Flags().Changed("from-slot")
			return a.migrate(cmd.Context(), &f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.softHSM, "from-softhsm", "", "`DIR` of a SoftHSM2 token, or of its tokens")
	flags.StringVar(&f.module, "from-module", "", "`PATH` of a PKCS #11 module")
	flags.StringVar(&f.choice.label, "from-token", "", "`LABEL` of the source's token (default: the only one)")
	flags.UintVar(&f.choice.slot, "from-slot", 0, "`ID` of the slot of the source's token")
	flags.StringArrayVar(&f.only, "only", nil, "move only what has this `NAME`, label=LABEL or id=HEX, and what belongs to it; may be given again")
	flags.BoolVar(&f.dry, "dry-run", false, "say what would be done, object by object, and change nothing")
	flags.BoolVar(&f.dropWrap, "drop-wrap", false, "secret keys that wrap and also encrypt, decrypt or sign come without CKA_WRAP")
	flags.BoolVar(&f.trusted, "trusted", false, "take over CKA_TRUSTED too, as security officer")
	a.addPINFlags(flags, pinFrom, pinSO)
	return cmd
}

// open finds the source; nobody has logged in to it yet.
func (f *migrateFlags) open() (source, error) {
	switch {
	case (f.softHSM == "") == (f.module == ""):
		return nil, usage("the source is missing, or there are two", "give one of --from-softhsm DIR and --from-module PATH")
	case f.softHSM != "":
		return openSoftHSM(f.softHSM, f.choice)
	}
	return openModule(f.module, f.choice)
}

func (a *app) migrate(ctx context.Context, f *migrateFlags) error {
	var only []selection
	for _, text := range f.only {
		s, err := parseSelection(text)
		if err != nil {
			return err
		}
		only = append(only, s)
	}
	src, err := f.open()
	if err != nil {
		return err
	}
	defer src.close()
	return a.withToken(ctx, false, func(t *token) error {
		defer src.close() // before the token, which has a part in it
		pin, err := a.pin(pinFrom, false)
		if err != nil {
			return err
		}
		if err := src.login(pin); err != nil {
			return err
		}
		m := &mover{token: t, src: src, dry: f.dry, dropWrap: f.dropWrap, trusted: f.trusted}
		if m.all, err = src.objects(); err != nil {
			return err
		}
		report, err := m.run(ctx, m.wanted(only))
		if err != nil {
			a.emit(report, report.text) // what was done is said all the same
			return err
		}
		if len(only) > 0 && len(report.Objects) == 0 {
			return notFound("the %s has nothing of that name", "leave --only out, with --dry-run, to see what is there", src.title())
		}
		if err := a.emit(report, report.text); err != nil {
			return err
		}
		return report.verdict()
	})
}

// run moves the objects. After an error that is not one object's alone, the rest is left. What was read of the source is
// wiped at the end: private data objects are in it, whether or not they were wanted.
func (m *mover) run(ctx context.Context, list []*foreign) (*moveReport, error) {
	defer func() {
		for _, f := range m.all {
			wipe(f.attrs)
		}
	}()
	report := &moveReport{Source: m.src.title(), DryRun: m.dry, Objects: []moveRow{}}
	bar := m.app.newProgress(len(list))
	defer bar.done()
	for i, f := range list {
		bar.at(i, f.label())
		row, err := m.one(ctx, f)
		report.add(row)
		if err != nil {
			return report, err
		}
	}
	bar.at(len(list), "")
	return report, m.trustAll(ctx)
}
