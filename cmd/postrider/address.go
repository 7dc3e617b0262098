package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ratelimit"
)

func (m *Main) addressCommand() *cobra.Command {
	return group(&cobra.Command{
		Use: "address", Short: "Return addresses of letters and postcards, kept by the provider",
	}, m.addressLsCommand(), m.addressAddCommand(), m.addressRmCommand())
}

// addressJSON is what --json shows of a return address.
type addressJSON struct {
	ID         int64  `json:"id"`
	Name       string `json:"name"`
	Line1      string `json:"line_1"`
	Line2      string `json:"line_2"`
	City       string `json:"city"`
	State      string `json:"state"`
	PostalCode string `json:"postal_code"`
	Country    string `json:"country"`
}

func addressOf(a *clicksend.ReturnAddress) addressJSON {
	return addressJSON{a.ID, a.Name, a.Line1, a.Line2, a.City, a.State, a.PostalCode, a.Country}
}

// openAddresses makes the account for a few calls that need neither the
// workers' budget nor the database.
func (m *Main) openAddresses() (*jobs.Provider, error) {
	return m.openProvider(nil, ratelimit.New(nil, m.rateOptions()))
}

// explainAddress says what an address call's failure means to the user.
func explainAddress(err error, notFound string) error {
	switch clicksend.KindOf(err) {
	case clicksend.NotFound:
		if notFound != "" {
			return campaign.Errorf(campaign.CodeNotFound, "%s: `postrider address ls` lists them", notFound)
		}
	case clicksend.UnknownOutcome:
		return fmt.Errorf("the provider's answer was lost, and the change may or may not have been made: look with `postrider address ls` before doing it again: %w", err)
	case clicksend.RateLimited:
		return fmt.Errorf("the provider is busy and did nothing: try again in a moment: %w", err)
	case clicksend.BadRequest:
		return fmt.Errorf("the provider refuses the address: %w", err)
	}
	return jobs.Explain(err)
}

func (m *Main) addressLsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "Show the account's return addresses",
		Args: exactArgs(0, "nothing else"),
		RunE: func(cmd *cobra.Command, _ []string) error { return m.addressLs(cmd.Context()) },
	}
}

func (m *Main) addressLs(ctx context.Context) error {
	p, err := m.openAddresses()
	if err != nil {
		return err
	}
	defer p.Close()
	all, err := p.Client().ReturnAddresses.List(ctx)
	if err != nil {
		return explainAddress(err, "")
	}
	if m.json {
		list := make([]addressJSON, len(all))
		for i := range all {
			list[i] = addressOf(&all[i])
		}
		return m.printJSON(map[string]any{"addresses": list})
	}
	if len(all) == 0 {
		m.say("the account has no return address yet: `postrider address add --help`")
		return nil
	}
	rows := [][]string{{"ID", "NAME", "STREET", "CITY", "STATE", "POSTCODE", "COUNTRY"}}
	for _, a := range all {
		street := a.Line1
		if a.Line2 != "" {
			street += ", " + a.Line2
		}
		rows = append(rows, []string{
			strconv.FormatInt(a.ID, 10), printable(a.Name), printable(street), printable(a.City), printable(a.State), printable(a.PostalCode), a.Country,
		})
	}
	return m.table(rows)
}

func (m *Main) addressAddCommand() *cobra.Command {
	var a clicksend.Address
	cmd := &cobra.Command{
		Use: "add --name NAME --line-1 STREET --city CITY --postcode CODE --country CC", Short: "Add a return address",
		Example: "  postrider address add --name 'ACME Pty Ltd' --line-1 '1 Example St' --city Sydney --state NSW --postcode 2000 --country AU",
		Args:    exactArgs(0, "no arguments but flags"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return m.addressAdd(cmd.Context(), a) },
	}
	f := cmd.Flags()
	f.StringVar(&a.Name, "name", "", "who the post goes back to")
	f.StringVar(&a.Line1, "line-1", "", "street and number")
	f.StringVar(&a.Line2, "line-2", "", "second line")
	f.StringVar(&a.City, "city", "", "city or suburb")
	f.StringVar(&a.State, "state", "", "state, where the country has them")
	f.StringVar(&a.PostalCode, "postcode", "", "postal code")
	f.String("country", "", "country of two letters, such as AU") // checked by the configuration
	return cmd
}

func (m *Main) addressAdd(ctx context.Context, a clicksend.Address) error {
	a.Country = m.cfg.Country
	var missing []string
	for _, f := range []struct{ flag, value string }{
		{"--name", a.Name}, {"--line-1", a.Line1}, {"--city", a.City}, {"--postcode", a.PostalCode}, {"--country", a.Country},
	} {
		if strings.TrimSpace(f.value) == "" {
			missing = append(missing, f.flag)
		}
	}
	if len(missing) > 0 {
		return usagef("a return address needs %s as well", strings.Join(missing, ", "))
	}
	p, err := m.openAddresses()
	if err != nil {
		return err
	}
	defer p.Close()
	added, err := p.Client().ReturnAddresses.Create(ctx, a)
	if err != nil {
		return explainAddress(err, "")
	}
	if m.json {
		return m.printJSON(addressOf(added))
	}
	m.say("return address %d added: use it with `postrider send --return-address %d`", added.ID, added.ID)
	return nil
}

func (m *Main) addressRmCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "rm ID", Short: "Remove a return address at the provider",
		Args: exactArgs(1, "the address's id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || id <= 0 {
				return usagef("%q is no id of a return address: `postrider address ls` lists them", args[0])
			}
			return m.addressRm(cmd.Context(), id, yes)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// addressRm removes an address that no unfinished campaign of this ledger
// prints on its letters.
func (m *Main) addressRm(ctx context.Context, id int64, yes bool) error {
	if !yes && !m.atTerminal() {
		return usagef("there is no terminal to ask for a yes: add --yes to remove return address %d", id)
	}
	p, err := m.openAddresses()
	if err != nil {
		return err
	}
	defer p.Close()
	if err := m.checkAddressFree(ctx, p.Client().BaseURL(), id); err != nil {
		return err
	}
	if !yes {
		if ok, err := m.ask(ctx, fmt.Sprintf("Remove return address %d from the account?", id)); err != nil {
			return err
		} else if !ok {
			return stopf("not removed: nobody said yes")
		}
	}
	if err := p.Client().ReturnAddresses.Delete(ctx, id); err != nil {
		return explainAddress(err, fmt.Sprintf("the account has no return address %d", id))
	}
	if m.json {
		return m.printJSON(map[string]any{"id": id, "removed": true})
	}
	m.say("return address %d is removed", id)
	return nil
}

func (m *Main) checkAddressFree(ctx context.Context, baseURL string, id int64) error {
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	all, err := l.Campaigns(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if !c.State.Final() && c.Content.ReturnAddressID == id && c.Provider.URL == baseURL {
			return campaign.Errorf(campaign.CodeConflict,
				"campaign %d %q is %s and still needs return address %d: let it end, or `postrider campaign cancel %d` first; nothing was removed", c.ID, c.Name, c.State, id, c.ID)
		}
	}
	return nil
}
