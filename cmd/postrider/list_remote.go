package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ratelimit"
)

// remote is what the commands about the provider's lists work with.
type remote struct {
	*jobs.Remote
	close func()
}

// openRemote opens the ledger and the account. The rate budget is that of the
// workers where Redis is a server; an embedded one is its process's own, and so
// is the budget.
func (m *Main) openRemote(ctx context.Context) (*remote, error) {
	l, err := m.openLedger(ctx)
	if err != nil {
		return nil, err
	}
	var rdb redis.UniversalClient
	if !m.cfg.UsesEmbeddedRedis() {
		opts, err := m.cfg.RedisOptions()
		if err != nil {
			return nil, errors.Join(&usageError{err}, l.Close())
		}
		rdb = redis.NewUniversalClient(opts)
	}
	p, err := m.openProvider(l, ratelimit.New(rdb, m.rateOptions()))
	if err != nil {
		if rdb != nil {
			err = errors.Join(err, rdb.Close())
		}
		return nil, errors.Join(err, l.Close())
	}
	r := &jobs.Remote{
		Ledger: l, Provider: p, Log: m.log(), Actor: m.who(), DataDir: m.cfg.DataDir, RejectsDir: m.path("."), Quiet: m.cfg.Settle,
		Meter: func(what, unit string) jobs.Meter { return m.newMeter(what, unit) },
	}
	return &remote{r, func() {
		p.Close()
		if rdb != nil {
			rdb.Close() //nolint:errcheck // the process is done with it
		}
		l.Close() //nolint:errcheck // as above
	}}, nil
}

// explainRemote says what the failure of a call about lists means to the user.
func explainRemote(err error) error {
	switch clicksend.KindOf(err) {
	case clicksend.UnknownOutcome:
		return fmt.Errorf("the provider's answer was lost, and what it was asked for may or may not have been done: the same command again finds out: %w", err)
	case clicksend.RateLimited:
		return fmt.Errorf("the provider is busy: try again in a moment: %w", err)
	case clicksend.BadRequest:
		return fmt.Errorf("the provider refuses it: %w", err)
	case clicksend.ServerError:
		return fmt.Errorf("the provider has a fault of its own: try again later; what was done stays done: %w", err)
	}
	return jobs.Explain(err)
}

// remoteListID reads the id of one of the provider's lists.
func remoteListID(flag, s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id <= 0 {
		return 0, usagef("%s%q is no id of a contact list at the provider: `postrider list remote ls` shows them", flag, s)
	}
	return id, nil
}

func (m *Main) listRemoteCommand() *cobra.Command {
	return group(&cobra.Command{
		Use: "remote", Short: "The contact lists that the provider keeps",
	}, m.listRemoteLsCommand(), m.listRemoteRmCommand())
}

func (m *Main) listRemoteLsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "Show the provider's contact lists",
		Args: exactArgs(0, "nothing else"),
		RunE: func(cmd *cobra.Command, _ []string) error { return m.listRemoteLs(cmd.Context()) },
	}
}

// remoteListJSON is what --json shows of one of the provider's lists.
type remoteListJSON struct {
	ID       int64  `json:"id"`
	Name     string `json:"name"`
	Contacts int64  `json:"contacts"`
}

func remoteListOf(li *clicksend.ContactList) remoteListJSON {
	return remoteListJSON{li.ID, li.Name, li.Contacts}
}

func (m *Main) listRemoteLs(ctx context.Context) error {
	r, err := m.openRemote(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	all, err := r.Lists(ctx)
	if err != nil {
		return explainRemote(err)
	}
	if m.json {
		lists := make([]remoteListJSON, len(all))
		for i := range all {
			lists[i] = remoteListOf(&all[i])
		}
		return m.printJSON(map[string]any{"lists": lists})
	}
	if len(all) == 0 {
		m.say("the account has no contact lists: `postrider list push NAME` makes one")
		return nil
	}
	rows := [][]string{{"ID", "NAME", "CONTACTS"}}
	for _, li := range all {
		rows = append(rows, []string{strconv.FormatInt(li.ID, 10), printable(li.Name), number(int(li.Contacts))})
	}
	return m.table(rows)
}

func (m *Main) listRemoteRmCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "rm ID", Short: "Remove a contact list at the provider",
		Long: "Removes a contact list at the provider, with its contacts. Lists here stay as they are.",
		Args: exactArgs(1, "the id of the provider's list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := remoteListID("", args[0])
			if err != nil {
				return err
			}
			return m.listRemoteRm(cmd.Context(), id, yes)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (m *Main) listRemoteRm(ctx context.Context, id int64, yes bool) error {
	if !yes && !m.atTerminal() {
		return usagef("there is no terminal to ask for a yes: add --yes to remove the provider's list %d", id)
	}
	r, err := m.openRemote(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	li, err := r.List(ctx, id)
	if err != nil {
		return explainRemote(err)
	}
	host := m.hostName(ctx)
	if !yes {
		ok, err := m.ask(ctx, fmt.Sprintf("Remove list %d %q with its %s contacts at %s?", id, printable(li.Name), number(int(li.Contacts)), host))
		if err != nil {
			return err
		}
		if !ok {
			return stopf("not removed: nobody said yes")
		}
	}
	if err := r.Remove(ctx, id); err != nil {
		return explainRemote(err)
	}
	if m.json {
		return m.printJSON(struct {
			remoteListJSON
			Host    string `json:"host"`
			Removed bool   `json:"removed"`
		}{remoteListOf(li), host, true})
	}
	m.say("list %d %q with %s contacts is removed at %s", id, printable(li.Name), number(int(li.Contacts)), host)
	return nil
}

// pushRequest is what `list push` was asked for.
type pushRequest struct {
	as         string
	remoteList string
	custom     []string
	wait       time.Duration
	yes        bool
}

func (m *Main) listPushCommand() *cobra.Command {
	var r pushRequest
	cmd := &cobra.Command{
		Use: "push NAME", Short: "Copy a list to the provider's contact lists",
		Long: "Makes a contact list at the provider and copies a list's contacts to it, waits until they are\n" +
			"there, reads them back and says which are missing. The same command again goes on where it was\n" +
			"interrupted, and adds what is missing: nobody comes twice.\n\n" +
			"The provider keeps phone, e-mail, fax, names, organisation, address and four custom fields. A list's\n" +
			"own columns are copied when --custom names them, at most four; organization_name and fax_number go\n" +
			"where they belong, and so do custom_1 to custom_4 without --custom. The rest is not copied, and said.\n" +
			"Who has opted out stays here, and so does who has neither phone nor e-mail nor fax.",
		Example: "  postrider list push customers --custom tier,shop\n" +
			"  postrider list push customers --remote-list 428",
		Args: exactArgs(1, "the list's name"),
		RunE: func(cmd *cobra.Command, args []string) error { return m.listPush(cmd.Context(), args[0], &r) },
	}
	f := cmd.Flags()
	f.StringVar(&r.as, "as", "", "name of the provider's list (default the list's)")
	f.StringVar(&r.remoteList, "remote-list", "", "id of a list that the provider has, to add to it")
	f.StringSliceVar(&r.custom, "custom", nil, "columns that become custom_1 to custom_4, such as tier,shop")
	f.DurationVar(&r.wait, "wait", 10*time.Minute, "how long the provider may take to import")
	f.BoolVar(&r.yes, "yes", false, "do not ask")
	return cmd
}

// pushJSON is what `list push --json` prints.
type pushJSON struct {
	List        string             `json:"list"`
	Host        string             `json:"host"`
	RemoteList  remoteListJSON     `json:"remote_list"`
	Contacts    int                `json:"contacts"` // that were to be there
	Already     int                `json:"already_there"`
	Imported    int                `json:"imported"` // rows that the provider was given
	Missing     int                `json:"missing"`
	MissingFile string             `json:"missing_file"`
	Removed     int                `json:"duplicates_removed"`
	Lost        int                `json:"answers_lost"`
	Others      int                `json:"others"`  // contacts of the provider's list that are not of ours
	Surplus     int                `json:"surplus"` // of ours, there more often than here
	Growing     bool               `json:"still_importing"`
	Suppressed  int                `json:"suppressed"`
	Unreachable int                `json:"unreachable"` // without phone, e-mail and fax
	Same        int                `json:"same"`        // as another in all that the provider keeps
	NotCopied   []jobs.ColumnCount `json:"not_copied"`
}

func (m *Main) listPush(ctx context.Context, name string, q *pushRequest) error {
	request := jobs.PushRequest{Custom: q.custom, Wait: q.wait, RemoteName: q.as}
	switch {
	case q.as != "" && q.remoteList != "":
		return usagef("--as names a list that is made, --remote-list one that is there: give one of them")
	case q.wait <= 0:
		return usagef("--wait: %s is no time to wait: give one such as 10m", q.wait)
	case !q.yes && !m.atTerminal():
		return usagef("there is no terminal to ask for a yes: add --yes to copy list %q to the provider", name)
	}
	var err error
	if q.remoteList != "" {
		if request.RemoteID, err = remoteListID("--remote-list: ", q.remoteList); err != nil {
			return err
		}
	}
	r, err := m.openRemote(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	if request.List, err = r.Ledger.FindList(ctx, name); err != nil {
		return err
	}
	if request.RemoteName == "" {
		request.RemoteName = request.List.Name
	}
	plan, err := r.PreparePush(ctx, request)
	switch {
	case campaign.ErrorCode(err) == campaign.CodeInvalid:
		return &usageError{err}
	case err != nil:
		return explainRemote(err)
	}
	host := m.hostName(ctx)
	m.sayPush(plan, request.List.Name, host)
	if plan.Contacts == 0 {
		return campaign.Errorf(campaign.CodeInvalid, "list %q has nobody whom the provider could keep: nothing was copied", request.List.Name)
	}
	if !q.yes {
		ok, err := m.ask(ctx, fmt.Sprintf("Copy %s contacts to %s?", number(plan.Contacts), host))
		if err != nil {
			return err
		}
		if !ok {
			return stopf("not copied: nobody said yes")
		}
	}
	m.atInterrupt.Store(&farewell{
		first:  "stopping (Ctrl-C again leaves at once); the same push goes on where it stopped",
		second: "left at once; the same push goes on where it stopped",
	})
	done, err := plan.Run(ctx)
	if err != nil {
		return explainRemote(err)
	}
	return m.sayPushed(plan, done, request.List.Name, host)
}

// sayPush says what a push is about to do.
func (m *Main) sayPush(plan *jobs.PushPlan, name, host string) {
	to := fmt.Sprintf("a new contact list %q", printable(plan.Remote.Name))
	switch {
	case plan.Resumes:
		to = fmt.Sprintf("contact list %d %q, which an earlier push of it made (%s contacts)", plan.Remote.ID, printable(plan.Remote.Name), number(int(plan.Remote.Contacts)))
	case plan.Remote.ID != 0:
		to = fmt.Sprintf("contact list %d %q (%s contacts)", plan.Remote.ID, printable(plan.Remote.Name), number(int(plan.Remote.Contacts)))
	}
	m.say("host        %s", host)
	m.say("list        %q, %s contacts to copy", name, number(plan.Contacts))
	m.say("to          %s", to)
	for _, left := range []struct {
		n   int
		why string
	}{
		{plan.Suppressed, "have opted out"},
		{plan.Unreachable, "have neither phone nor e-mail nor fax: the provider cannot keep them"},
		{plan.Same, "are like another in all that the provider keeps"},
	} {
		if left.n > 0 {
			m.say("stay here   %s, who %s", number(left.n), left.why)
		}
	}
	if len(plan.NotCopied) > 0 {
		var columns []string
		for _, c := range plan.NotCopied {
			columns = append(columns, fmt.Sprintf("%s (%s values)", printable(c.Column), number(c.Values)))
		}
		m.say("not copied  %s; --custom copies up to four columns", strings.Join(columns, ", "))
	}
}

// sayPushed says what came of a push.
func (m *Main) sayPushed(plan *jobs.PushPlan, done *jobs.Pushed, name, host string) error {
	if done.Missing > 0 {
		m.exitCode = exitRefused
	}
	if done.Growing {
		m.exitCode = exitStopped
	}
	if m.json {
		return m.printJSON(pushJSON{
			List: name, Host: host, RemoteList: remoteListOf(&done.Remote), Contacts: plan.Contacts, Already: done.Already, Imported: done.Imported,
			Missing: done.Missing, MissingFile: done.MissingFile, Removed: done.Removed, Lost: done.Lost, Others: done.Others, Surplus: done.Surplus, Growing: done.Growing,
			Suppressed: plan.Suppressed, Unreachable: plan.Unreachable, Same: plan.Same, NotCopied: append([]jobs.ColumnCount{}, plan.NotCopied...),
		})
	}
	m.say("%s of %s contacts are on the provider's list %d (%s were before)", number(plan.Contacts-done.Missing), number(plan.Contacts), done.Remote.ID, number(done.Already))
	if done.Already > 0 {
		m.say("those were told by number, e-mail and name: their other fields were not compared, and are not carried over when they have changed")
	}
	if done.Removed > 0 {
		m.say("removed there: %s", plural(done.Removed, "duplicate"))
	}
	if done.Others > 0 {
		m.say("%s further contacts are on it, who are not on list %q", number(done.Others), name)
	}
	if done.Growing {
		m.say("the provider is still importing: run the same push again in a while, which adds what is missing then and removes what came twice")
	}
	if done.Surplus > 0 {
		m.say("%s contacts are more than once on it; Postrider removes those that agree in every field, and only from a list that it made", number(done.Surplus))
	}
	if done.MissingFile != "" {
		m.say("%s contacts are missing there, with line: %s", number(done.Missing), done.MissingFile)
	}
	return nil
}

func (m *Main) listPullCommand() *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use: "pull ID", Short: "Copy one of the provider's contact lists here",
		Long: "Copies one of the provider's contact lists, whole or not at all. When it was interrupted, the same\n" +
			"command reads the list once more, since it may have changed. Each contact keeps its number at the\n" +
			"provider as remote_id. A contact without a phone number or a whole address cannot be sent to and is\n" +
			"dropped, with the reason, to remote-list-ID.rejects.csv in the current folder.",
		Example: "  postrider list pull 428 --as customers",
		Args:    exactArgs(1, "the id of the provider's list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := remoteListID("", args[0])
			if err != nil {
				return err
			}
			return m.listPull(cmd.Context(), id, as)
		},
	}
	f := cmd.Flags()
	f.StringVar(&as, "as", "", "name of the list here (default the provider's)")
	// The configuration reads the flag, and checks it.
	f.String("country", "", "country of numbers written without one, such as AU")
	return cmd
}

func (m *Main) listPull(ctx context.Context, id int64, as string) error {
	if as != "" {
		if err := checkListName(as); err != nil {
			return err
		}
	}
	r, err := m.openRemote(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	// The half import of a process that died holds its name otherwise.
	if _, _, err := r.Ledger.DiscardHalfPlans(ctx); err != nil {
		return err
	}
	m.atInterrupt.Store(&farewell{
		first:  "stopping (Ctrl-C again leaves at once); the same pull reads the list once more",
		second: "left at once; the same pull reads the list once more",
	})
	done, err := r.Pull(ctx, jobs.PullRequest{RemoteID: id, Name: as, Country: m.cfg.Country})
	if err != nil {
		return explainRemote(err)
	}
	if m.json {
		return m.printJSON(struct {
			listJSON
			Changed     bool           `json:"changed"` // a pull makes a new list, or none
			RejectsFile string         `json:"rejects_file"`
			RemoteList  remoteListJSON `json:"remote_list"`
			Passes      int            `json:"passes"`
			Resumed     int            `json:"pages_resumed"`
		}{listOf(done.List), true, done.RejectsFile, remoteListOf(&done.Remote), done.Passes, done.Resumed})
	}
	if done.Resumed > 0 {
		m.say("%s pages had been read by a pull that was interrupted; the list was read once more, since it may have changed meanwhile", number(done.Resumed))
	}
	m.say("list %q from the provider's list %d %q: %s", done.List.Name, id, printable(done.Remote.Name), countsOf(done.List.ListCounts))
	if done.RejectsFile != "" {
		m.say("dropped contacts, with number at the provider and reason: %s", done.RejectsFile)
	}
	return nil
}
