package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/jobs"
)

func (m *Main) optoutPullCommand() *cobra.Command {
	var list, reason string
	cmd := &cobra.Command{
		Use: "pull --remote-list ID", Short: "Bring the provider's opt-out list here",
		Long: "Puts everybody on one of the provider's contact lists, such as its opt-out list, on the\n" +
			"suppression list: by phone number and by e-mail address. Who is there already stays as they are, so\n" +
			"it may be run every day. `postrider list remote ls` shows the lists and their ids.",
		Example: "  postrider optout pull --remote-list 428",
		Args:    exactArgs(0, "nothing but flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list == "" {
				return usagef("--remote-list is missing: give the id of the provider's opt-out list, which `postrider list remote ls` shows")
			}
			id, err := remoteListID("--remote-list: ", list)
			if err != nil {
				return err
			}
			return m.optoutPull(cmd.Context(), id, reason)
		},
	}
	f := cmd.Flags()
	f.StringVar(&list, "remote-list", "", "id of the provider's list")
	f.StringVar(&reason, "reason", "", "why they are not to be written to")
	// The configuration reads the flag, and checks it.
	f.String("country", "", "country of numbers written without one, such as AU")
	return cmd
}

// optOutPullJSON is what `optout pull --json` prints.
type optOutPullJSON struct {
	RemoteList   remoteListJSON `json:"remote_list"`
	Contacts     int            `json:"contacts"` // read: taken + duplicates + rejected
	Taken        int            `json:"taken"`
	Duplicates   int            `json:"duplicates"`
	Rejected     int            `json:"rejected"`
	Entries      int            `json:"entries"` // added + already_there
	Added        int            `json:"added"`
	AlreadyThere int            `json:"already_there"`
	RejectsFile  string         `json:"rejects_file"`
}

func (m *Main) optoutPull(ctx context.Context, id int64, reason string) error {
	r, err := m.openRemote(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.Ledger.DiscardHalfOptOuts(ctx); err != nil {
		return err
	}
	var done *jobs.PulledOptOuts
	if done, err = r.PullOptOuts(ctx, id, strings.ToUpper(m.cfg.Country), reason); err != nil {
		return explainRemote(err)
	}
	s := done.Summary
	if m.json {
		return m.printJSON(optOutPullJSON{
			RemoteList: remoteListOf(&done.Remote), Contacts: s.Rows, Taken: s.Imported, Duplicates: s.Duplicates, Rejected: s.Rejected,
			Entries: done.Entries, Added: done.Added, AlreadyThere: done.Entries - done.Added, RejectsFile: done.RejectsFile,
		})
	}
	m.say("%s added, %s there already", plural(done.Added, "opt-out"), number(done.Entries-done.Added))
	m.say("%s of the provider's list %d %q: %s taken, %s, %s rejected",
		plural(s.Rows, "contact"), id, printable(done.Remote.Name), number(s.Imported), plural(s.Duplicates, "duplicate"), number(s.Rejected))
	if done.RejectsFile != "" {
		m.say("what could not be taken, with number at the provider and reason: %s", done.RejectsFile)
	}
	return nil
}
