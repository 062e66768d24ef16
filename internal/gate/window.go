package gate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Hours are times of the week in which a step may begin. The clock on the wall of
// the zone decides, so that an hour that the clock leaves out in spring is in no
// window, and one that it shows twice in autumn is in it twice.
type Hours struct {
	Days []string `json:"days,omitempty"` // mon to sun, on which it begins; default: each
	From string   `json:"from"`           // 09:00
	To   string   `json:"to"`             // 17:00; what is not after From is on the next day; 24:00 is the end of the day
	Zone string   `json:"zone,omitempty"` // Europe/Berlin; default UTC
}

const (
	minutesOfDay = 24 * 60
	// horizon is how far ahead an edge of a window is looked for: more than a week,
	// for that which falls into the hour that the clock leaves out.
	horizon = 15 * minutesOfDay
)

func weekdays() []string { return []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} }

// Check says what of it cannot be read.
func (h Hours) Check() error {
	_, err := h.read()
	return err
}

// hours are Hours as they are compared with.
type hours struct {
	days     [7]bool
	from, to int // minutes of the day; to is more than a day's where it is on the next
	zone     *time.Location
}

func (h Hours) read() (hours, error) {
	var out hours
	for _, d := range h.Days {
		i := slices.Index(weekdays(), strings.ToLower(d))
		if i < 0 {
			return out, fmt.Errorf("%q is no day: it is one of mon, tue, wed, thu, fri, sat, sun", d)
		}
		out.days[i] = true
	}
	if len(h.Days) == 0 {
		out.days = [7]bool{true, true, true, true, true, true, true}
	}
	var err error
	if out.from, err = minuteOf(h.From); err != nil || out.from == minutesOfDay {
		return out, fmt.Errorf("from: %w", errTime(h.From))
	}
	if out.to, err = minuteOf(h.To); err != nil {
		return out, fmt.Errorf("to: %w", err)
	}
	switch {
	case out.from == out.to:
		return out, fmt.Errorf("from %s to %s is no time at all: the whole day is from 00:00 to 24:00", h.From, h.To)
	case out.to < out.from:
		out.to += minutesOfDay
	}
	if h.Zone == "Local" {
		return out, errors.New("zone Local is another one on each machine: name it, as in Europe/Berlin")
	}
	if out.zone, err = time.LoadLocation(h.Zone); err != nil {
		return out, fmt.Errorf("%q is no time zone: it is named as in Europe/Berlin or UTC", h.Zone)
	}
	return out, nil
}

func errTime(s string) error {
	return fmt.Errorf("%q is no time of the day: it is written as 09:00", s)
}

// minuteOf reads 09:00, and 24:00.
func minuteOf(s string) (int, error) {
	if s == "24:00" {
		return minutesOfDay, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil || len(s) != len("15:04") {
		return 0, errTime(s)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// has says whether the moment is in it.
func (h hours) has(at time.Time) bool {
	at = at.In(h.zone)
	minute, day := at.Hour()*60+at.Minute(), int(at.Weekday())
	if h.days[day] && minute >= h.from && minute < h.to {
		return true
	}
	return h.days[(day+6)%7] && minute+minutesOfDay < h.to // since the day before
}

// String is "mon,tue 09:00-17:00 Europe/Berlin".
func (h Hours) String() string {
	days := strings.ToLower(strings.Join(h.Days, ","))
	switch days {
	case "":
		days = "daily"
	case "mon,tue,wed,thu,fri":
		days = "mon-fri"
	}
	zone := h.Zone
	if zone == "" {
		zone = "UTC"
	}
	return days + " " + h.From + "-" + h.To + " " + zone
}

// InWords are several of them.
func InWords(hs []Hours) string {
	out := make([]string, len(hs))
	for i, h := range hs {
		out[i] = h.String()
	}
	return strings.Join(out, " or ")
}

// within judges whether a step may begin at the time of the evidence. Outside it
// is only a matter of time: never bad news.
func within(q Question, ev Evidence) (State, string) {
	all := make([]hours, len(q.Windows))
	for i, w := range q.Windows {
		h, err := w.read()
		if err != nil {
			return Unknown, fmt.Sprintf("window %d cannot be read: %v", i+1, err)
		}
		all[i] = h
	}
	switch {
	case len(all) == 0:
		return Unknown, "the step has no window"
	case ev.At.IsZero():
		return Unknown, "the time is not known"
	}
	text := InWords(q.Windows)
	in := func(at time.Time) bool { return slices.ContainsFunc(all, func(h hours) bool { return h.has(at) }) }
	now := ev.At.Truncate(time.Minute)
	open := in(now)
	edge, zone := now, all[0].zone
	for range horizon {
		if edge = edge.Add(time.Minute); in(edge) != open {
			break
		}
	}
	when := edge.In(zone).Format("Mon 2006-01-02 15:04 MST")
	switch {
	case open && in(edge):
		return Open, "within " + text
	case open:
		return Open, "within " + text + ", until " + when
	case in(edge):
		return Unknown, "outside " + text + ", until " + when
	}
	return Unknown, "outside " + text + ", and it does not open in the next two weeks"
}
