package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/configs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/scheduler"
)

func (m *Main) scheduleCommand() *cobra.Command {
	return group(&cobra.Command{
		Use: "schedule", Short: "Campaigns that are sent again and again, such as nightly letters",
	}, m.scheduleAddCommand(), m.scheduleLsCommand(), m.scheduleRunCommand(), m.schedulePauseCommand(), m.scheduleResumeCommand(),
		m.scheduleRmCommand(), m.scheduleHistoryCommand())
}

// runTimeJSON is one run to come.
type runTimeJSON struct {
	LocalTime string    `json:"local_time"` // the name of the run
	At        time.Time `json:"at"`         // in the schedule's zone
}

// runJSON is what --json shows of a run.
type runJSON struct {
	ID        int64           `json:"id"`
	LocalTime string          `json:"local_time"`
	Manual    bool            `json:"manual"`
	DueAt     time.Time       `json:"due_at"`
	State     string          `json:"state"`
	Reason    string          `json:"reason"`
	Tries     int             `json:"tries"`
	NextTry   *time.Time      `json:"next_try_at,omitempty"`
	Campaign  int64           `json:"campaign,omitempty"` // the first of them
	Campaigns []int64         `json:"campaigns,omitempty"`
	Started   *time.Time      `json:"started_at,omitempty"`
	Ended     *time.Time      `json:"ended_at,omitempty"`
	Report    json.RawMessage `json:"report,omitempty"`
	Alarms    []alarmJSON     `json:"alarms,omitempty"`
}

// alarmJSON is what somebody was, or is being, told of a run.
type alarmJSON struct {
	Event   string `json:"event"`
	State   string `json:"state"` // pending, sent, given up
	Problem string `json:"problem,omitempty"`
}

// scheduleJSON is what --json shows of a schedule.
type scheduleJSON struct {
	ID       int64         `json:"id"`
	Name     string        `json:"name"`
	State    string        `json:"state"`
	Cron     string        `json:"cron"`
	Timezone string        `json:"timezone"`
	Source   string        `json:"source"`
	Overlap  string        `json:"overlap"`
	IfLate   string        `json:"if_late"`
	Limit    string        `json:"late_limit"`
	CatchUp  string        `json:"catch_up"`
	Next     []runTimeJSON `json:"next"` // none while it is paused
	Last     *runJSON      `json:"last,omitempty"`
}

func moment(t time.Time, loc *time.Location) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.In(loc)
	return &t
}

func runOf(r *ledger.Run, loc *time.Location) runJSON {
	out := runJSON{
		ID: r.ID, LocalTime: r.Local, Manual: r.Manual, DueAt: r.DueAt.In(loc), State: string(r.State), Reason: r.Reason, Tries: r.Tries,
		NextTry: moment(r.NextTry, loc), Campaign: r.Campaign, Started: moment(r.Started, loc), Ended: moment(r.Ended, loc),
	}
	if json.Valid([]byte(r.Report)) {
		out.Report = json.RawMessage(r.Report)
	}
	return out
}

// shownRuns is how many of the runs to come are shown.
const shownRuns = 5

// describeSchedule collects what is shown of a schedule.
func describeSchedule(ctx context.Context, l *ledger.Ledger, s *ledger.Schedule) (scheduleJSON, error) {
	out := scheduleJSON{
		ID: s.ID, Name: s.Name, State: string(s.State), Cron: s.Cron, Timezone: s.Zone, Overlap: s.Overlap, IfLate: s.IfLate, Limit: s.LateLimit.String(),
		CatchUp: s.CatchUp, Next: []runTimeJSON{},
	}
	d, err := scheduler.ParseDefinition(s.Name, []byte(s.Spec))
	if err != nil {
		return out, fmt.Errorf("schedule %q was written by another version of Postrider: %w", s.Name, err)
	}
	out.Source = d.Source.Kind + ": " + d.Source.Value
	now, err := l.Now(ctx)
	if err != nil {
		return out, err
	}
	if s.State == ledger.ScheduleActive {
		// What has come already, and nobody has recorded, is not to come.
		local := scheduler.Reading(now, d.Location)
		if cursor, err := scheduler.ParseLocal(s.Cursor); err == nil {
			local = max(local, cursor)
		}
		for range shownRuns {
			next, ok := d.Times.After(local)
			if !ok {
				break
			}
			out.Next, local = append(out.Next, runTimeJSON{next.String(), next.Instant(d.Location)}), next
		}
	}
	last, err := l.History(ctx, s.ID, 1)
	if err != nil {
		return out, err
	}
	if len(last) > 0 {
		r := runOf(&last[0], d.Location)
		out.Last = &r
	}
	return out, nil
}

// runTime writes a moment for people, with its offset.
func runTime(t time.Time) string { return t.Format("Mon 2006-01-02 15:04 -07:00") }

// sayRunTimes lists the runs to come.
func (m *Main) sayRunTimes(s *scheduleJSON) {
	for i, n := range s.Next {
		label := ""
		if i == 0 {
			label = "next"
		}
		note := ""
		if n.At.Format("2006-01-02T15:04") != n.LocalTime {
			note = "  (for " + strings.Replace(n.LocalTime, "T", " ", 1) + ", which the clocks skip)"
		}
		m.say("  %-6s %s%s", label, runTime(n.At), note)
	}
}

func (m *Main) scheduleAddCommand() *cobra.Command {
	var file string
	var replace bool
	cmd := &cobra.Command{
		Use: "add -f schedule.yaml", Short: "Add a schedule that stands in a file, and show its next runs",
		Args: exactArgs(0, "no arguments but -f schedule.yaml"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("--file is missing: the schedule, such as -f schedule.yaml")
			}
			return m.scheduleAdd(cmd.Context(), file, replace)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the schedule, as YAML")
	cmd.Flags().BoolVar(&replace, "replace", false, "take the place of the schedule of that name; its runs stay on record")
	return cmd
}

func (m *Main) scheduleAdd(ctx context.Context, file string, replace bool) error {
	text, err := os.ReadFile(m.path(file))
	if errors.Is(err, fs.ErrNotExist) {
		return usagef("there is no file %s", file)
	}
	if err != nil {
		return usagef("%s cannot be read: %v", file, err)
	}
	d, err := scheduler.ParseNewDefinition(file, text)
	if err != nil {
		return &usageError{err}
	}
	d.Actor = m.who()
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	if d.Source.Kind == scheduler.SourceList {
		if _, err := l.FindList(ctx, d.Source.Value); err != nil {
			return err
		}
	}
	now, err := l.Now(ctx)
	if err != nil {
		return err
	}
	from := scheduler.Reading(now, d.Location).String()
	before, err := l.FindSchedule(ctx, d.Name)
	var s *ledger.Schedule
	done := "is added"
	switch {
	case err != nil && campaign.ErrorCode(err) != campaign.CodeNotFound:
		return err
	case err != nil:
		s, err = l.CreateSchedule(ctx, d.NewSchedule, from)
	case !replace:
		return campaign.Errorf(campaign.CodeExists, "a schedule named %q exists already: `postrider schedule ls` shows it; give this one another name, or take its place with --replace", d.Name)
	default:
		// What has come until now is judged by the definition that was in force.
		if _, err := scheduler.Record(ctx, l, before); err != nil {
			return err
		}
		done = "is replaced"
		s, err = l.ReplaceSchedule(ctx, before, d.NewSchedule, from)
	}
	if err != nil {
		return err
	}
	out, err := describeSchedule(ctx, l, s)
	if err != nil {
		return err
	}
	if m.json {
		return m.printJSON(out)
	}
	m.say("schedule %q %s and %s: %s, %s", printable(s.Name), done, s.State, s.Cron, s.Zone)
	m.sayRunTimes(&out)
	m.sayWhoRuns()
	return nil
}

// sayWhoRuns says who will run what is scheduled.
func (m *Main) sayWhoRuns() {
	m.say("`postrider serve` (or worker and scheduler) must be running then")
}

func (m *Main) scheduleLsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "Show the schedules, their last run and their next ones",
		Args: exactArgs(0, "nothing else"),
		RunE: func(cmd *cobra.Command, _ []string) error { return m.scheduleLs(cmd.Context()) },
	}
}

func (m *Main) scheduleLs(ctx context.Context) error {
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	all, err := l.Schedules(ctx)
	if err != nil {
		return err
	}
	shown := make([]scheduleJSON, len(all))
	for i := range all {
		if shown[i], err = describeSchedule(ctx, l, &all[i]); err != nil {
			return err
		}
	}
	if m.json {
		return m.printJSON(map[string]any{"schedules": shown})
	}
	if len(shown) == 0 {
		m.say("there is no schedule yet: `postrider schedule add --help`")
	}
	for i := range shown {
		s := &shown[i]
		m.say("%s  %s  %s  %s  %s", printable(s.Name), s.State, s.Cron, s.Timezone, printable(s.Source))
		if s.Last != nil {
			m.say("  last   %s  %s", s.Last.LocalTime, printable(outcomeOf(s.Last)))
		}
		m.sayRunTimes(s)
	}
	return nil
}

// outcomeOf is a run's state, and why.
func outcomeOf(r *runJSON) string {
	if r.Reason == "" {
		return r.State
	}
	return r.State + ": " + r.Reason
}

func (m *Main) scheduleHistoryCommand() *cobra.Command {
	limit := 20
	cmd := &cobra.Command{
		Use: "history NAME", Short: "Show the runs of a schedule, the newest first",
		Args: exactArgs(1, "the schedule's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 0 {
				return usagef("--limit: expected a number of runs, or 0 for all")
			}
			return m.scheduleHistory(cmd.Context(), args[0], limit)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", limit, "how many runs; 0 is all")
	return cmd
}

// openSchedule opens the ledger and finds a schedule and its zone.
func (m *Main) openSchedule(ctx context.Context, name string, find func(*ledger.Ledger, context.Context, string) (*ledger.Schedule, error)) (*ledger.Ledger, *ledger.Schedule, *time.Location, error) {
	l, err := m.openLedger(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := find(l, ctx, name)
	if err != nil {
		return nil, nil, nil, errors.Join(err, l.Close())
	}
	loc, err := scheduler.Zone(s.Zone)
	if err != nil {
		return nil, nil, nil, errors.Join(err, l.Close())
	}
	return l, s, loc, nil
}

func (m *Main) scheduleHistory(ctx context.Context, name string, limit int) error {
	l, s, loc, err := m.openSchedule(ctx, name, (*ledger.Ledger).PastSchedule)
	if err != nil {
		return err
	}
	defer l.Close()
	runs, err := l.History(ctx, s.ID, limit)
	if err != nil {
		return err
	}
	told, err := l.Alarms(ctx, s.ID)
	if err != nil {
		return err
	}
	alarms := map[int64][]alarmJSON{}
	for _, a := range told {
		alarms[a.Run.ID] = append(alarms[a.Run.ID], alarmJSON{a.Event, a.State, a.Problem})
	}
	shown := make([]runJSON, len(runs))
	for i := range runs {
		shown[i] = runOf(&runs[i], loc)
		shown[i].Alarms = alarms[runs[i].ID]
		if runs[i].Campaign == 0 {
			continue
		}
		made, err := l.RunCampaigns(ctx, runs[i].ID)
		if err != nil {
			return err
		}
		for _, c := range made {
			shown[i].Campaigns = append(shown[i].Campaigns, c.ID)
		}
	}
	if m.json {
		return m.printJSON(map[string]any{"schedule": s.Name, "state": string(s.State), "timezone": s.Zone, "runs": shown})
	}
	if len(shown) == 0 {
		m.say("schedule %q has not run yet", printable(s.Name))
		return nil
	}
	rows := [][]string{{"RUN", "DUE", "CAMPAIGNS", "TRIES", "STATE"}}
	for i := range shown {
		r := &shown[i]
		made, local := "-", strings.Replace(r.LocalTime, "T", " ", 1)
		if len(r.Campaigns) > 0 {
			made = strings.Trim(fmt.Sprint(r.Campaigns), "[]")
		}
		if r.Manual {
			local += " by hand"
		}
		what := outcomeOf(r)
		for _, a := range r.Alarms {
			if a.State == "given up" {
				what += "; nobody could be told: " + a.Problem
			}
		}
		rows = append(rows, []string{local, r.DueAt.Format("2006-01-02 15:04 -07:00"), made, strconv.Itoa(r.Tries), printable(what)})
	}
	return m.table(rows)
}

func (m *Main) scheduleRunCommand() *cobra.Command {
	return &cobra.Command{
		Use: "run NAME", Short: "Run a schedule now, beside its scheduled runs",
		Args: exactArgs(1, "the schedule's name"),
		RunE: func(cmd *cobra.Command, args []string) error { return m.scheduleRun(cmd.Context(), args[0]) },
	}
}

func (m *Main) scheduleRun(ctx context.Context, name string) error {
	l, s, loc, err := m.openSchedule(ctx, name, (*ledger.Ledger).FindSchedule)
	if err != nil {
		return err
	}
	defer l.Close()
	now, err := l.Now(ctx)
	if err != nil {
		return err
	}
	r, err := l.RunByHand(ctx, s, now.In(loc).Format("2006-01-02T15:04:05"), m.who())
	if err != nil {
		return err
	}
	if m.json {
		return m.printJSON(map[string]any{"schedule": s.Name, "run": runOf(r, loc)})
	}
	m.say("a run of %q is due now; follow it with `postrider schedule history '%s'`", printable(s.Name), printable(s.Name))
	m.sayWhoRuns()
	return nil
}

func (m *Main) schedulePauseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "pause NAME", Short: "Let no run begin until it is resumed; runs meanwhile are skipped",
		Args: exactArgs(1, "the schedule's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return m.moveSchedule(cmd.Context(), args[0], ledger.SchedulePaused)
		},
	}
}

func (m *Main) scheduleResumeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume NAME", Short: "Let a paused schedule run again, from its next time on",
		Args: exactArgs(1, "the schedule's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return m.moveSchedule(cmd.Context(), args[0], ledger.ScheduleActive)
		},
	}
}

func (m *Main) scheduleRmCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "rm NAME", Short: "Remove a schedule; its history stays",
		Args: exactArgs(1, "the schedule's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes && !m.atTerminal() {
				return usagef("there is no terminal to ask for a yes: add --yes to remove the schedule %q", args[0])
			}
			if !yes {
				if ok, err := m.ask(cmd.Context(), fmt.Sprintf("Remove the schedule %q?", args[0])); err != nil {
					return err
				} else if !ok {
					return stopf("not removed: nobody said yes")
				}
			}
			return m.moveSchedule(cmd.Context(), args[0], ledger.ScheduleRemoved)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (m *Main) moveSchedule(ctx context.Context, name string, to ledger.ScheduleState) error {
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	s, err := l.FindSchedule(ctx, name)
	if err != nil {
		return err
	}
	// What has come until now is judged by the state that was in force.
	if _, err := scheduler.Record(ctx, l, s); err != nil {
		return err
	}
	if err := l.MoveSchedule(ctx, s.ID, to); err != nil {
		return err
	}
	open, err := l.OpenRuns(ctx)
	if err != nil {
		return err
	}
	open = slices.DeleteFunc(open, func(o ledger.OpenRun) bool { return o.ScheduleID != s.ID })
	s.State = to
	out, err := describeSchedule(ctx, l, s)
	if err != nil {
		return err
	}
	if m.json {
		return m.printJSON(out)
	}
	m.say("schedule %q is %s", printable(s.Name), to)
	m.sayRunTimes(&out)
	if to == ledger.ScheduleActive {
		return nil
	}
	for _, o := range open {
		if o.Campaign != 0 {
			m.say("  its run of %s goes on: `postrider campaign pause %d` stops it", o.Local, o.Campaign)
		}
	}
	return nil
}

// alarmer tells people of what happens to recurring runs. Their commands see
// nothing of the environment but what every program needs.
func (m *Main) alarmer() *scheduler.Alarmer {
	var env []string
	for _, line := range m.Env {
		name, _, _ := strings.Cut(line, "=")
		if slices.Contains([]string{"PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER"}, name) {
			env = append(env, line)
		}
	}
	return &scheduler.Alarmer{Env: env, Secret: func(name, file string) (string, error) {
		if file != "" {
			s, err := configs.ReadSecretFile(file)
			return s.Reveal(), err
		}
		s, err := configs.ReadSecret(m.Env, name)
		return s.Reveal(), err
	}}
}
