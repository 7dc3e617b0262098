package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/segment"
)

func (m *Main) listCountCommand() *cobra.Command {
	var (
		where      string
		show       int
		showValues bool
	)
	cmd := &cobra.Command{
		Use: "count NAME --where CONDITION", Short: "Say how many contacts of a list meet a condition",
		Long: "Says how many contacts of a list meet a condition, and shows the first of them, masked. It is what\n" +
			"--where of `postrider send` would take, before anybody is left out.",
		Example: `  postrider list count customers --where 'city = "Perth" and age >= 18'`,
		Args:    exactArgs(1, "the list's name or number"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case !cmd.Flags().Changed("where"):
				return usagef(`--where is missing: a condition such as 'city = "Perth" and age >= 18'; how many are in the list ` + "`postrider list show` says")
			case show < 0:
				return usagef("--show: %d is not how many contacts to show: expected 0 or more", show)
			case showValues && show == 0:
				return usagef("--show-values means nothing with --show 0")
			}
			return m.listCount(cmd.Context(), args[0], where, show, showValues)
		},
	}
	cmd.Flags().StringVar(&where, "where", "", `the condition, such as 'city = "Perth" and age >= 18'`)
	cmd.Flags().IntVar(&show, "show", 3, "how many of them to show")
	cmd.Flags().BoolVar(&showValues, "show-values", false, "show them in full")
	return cmd
}

// countJSON is what `list count --json` prints.
type countJSON struct {
	List     string           `json:"list"`
	Contacts int              `json:"contacts"`
	Matched  int              `json:"matched"`
	Unread   []segment.Unread `json:"unread"`
	First    []previewJSON    `json:"first"`
}

func (m *Main) listCount(ctx context.Context, name, where string, show int, showValues bool) error {
	if err := segment.Check(where); err != nil {
		return usagef("--where: %w", err)
	}
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	li, err := l.FindList(ctx, name)
	if err != nil {
		return err
	}
	condition, err := segment.Compile(where, li.Columns)
	if err != nil {
		return usagef("--where: %w", err)
	}
	hide, hidePhone := masks(showValues)
	out := countJSON{List: li.Name, Unread: []segment.Unread{}, First: []previewJSON{}}
	err = l.EachContact(ctx, li.ID, func(c *campaign.Contact) error {
		out.Contacts++
		if !condition.Match(c) {
			return nil
		}
		if out.Matched++; out.Matched <= show {
			out.First = append(out.First, preview(c, hide, hidePhone))
		}
		return nil
	})
	if err != nil {
		return err
	}
	out.Unread = append(out.Unread, condition.Unread()...)
	if m.json {
		return m.printJSON(out)
	}
	m.say("%s of %s contacts in list %q", number(out.Matched), number(out.Contacts), printable(li.Name))
	for _, u := range out.Unread {
		m.say("  note  %s", u)
	}
	for _, p := range out.First {
		m.say("  %s", p.text(li.Columns))
	}
	if more := out.Matched - len(out.First); more > 0 && len(out.First) > 0 {
		m.say("  %s", fmt.Sprintf("and %s more", number(more)))
	}
	return nil
}
