package gate_test

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones, where the machine has none

	"github.com/serin-mesh/serin/internal/gate"
)

func office(days ...string) gate.Hours {
	return gate.Hours{Days: days, From: "09:00", To: "17:00", Zone: "Europe/Berlin"}
}

// The dates: 2026-03-02 is a Monday; the clocks of Berlin go to summer time on
// Sunday 2026-03-29 at 02:00, and back on Sunday 2026-10-25 at 03:00.
func TestWindow_opensByTheClockOnTheWall(t *testing.T) {
	night := gate.Hours{Days: []string{"Fri"}, From: "22:00", To: "04:00"}
	for name, tt := range map[string]struct {
		windows []gate.Hours
		at      string
		want    gate.State
		reason  string
	}{
		"within":                          {[]gate.Hours{office("mon", "tue")}, "2026-03-02T12:00:00+01:00", gate.Open, "within mon,tue 09:00-17:00 Europe/Berlin, until Mon 2026-03-02 17:00 CET"},
		"the first second":                {[]gate.Hours{office("mon")}, "2026-03-02T09:00:00+01:00", gate.Open, "17:00"},
		"the second before":               {[]gate.Hours{office("mon")}, "2026-03-02T08:59:59+01:00", gate.Unknown, "until Mon 2026-03-02 09:00 CET"},
		"the end is outside":              {[]gate.Hours{office("mon")}, "2026-03-02T17:00:00+01:00", gate.Unknown, "until Mon 2026-03-09 09:00 CET"},
		"the last second":                 {[]gate.Hours{office("mon")}, "2026-03-02T16:59:59+01:00", gate.Open, "17:00"},
		"in another zone's time":          {[]gate.Hours{office("mon")}, "2026-03-02T07:30:00Z", gate.Unknown, "09:00 CET"},
		"another day":                     {[]gate.Hours{office("mon", "tue", "wed", "thu", "fri")}, "2026-03-07T12:00:00+01:00", gate.Unknown, "outside mon-fri 09:00-17:00 Europe/Berlin, until Mon 2026-03-09"},
		"each day, UTC":                   {[]gate.Hours{{From: "09:00", To: "17:00"}}, "2026-03-07T12:00:00Z", gate.Open, "daily 09:00-17:00 UTC"},
		"over midnight, before":           {[]gate.Hours{night}, "2026-03-06T23:00:00Z", gate.Open, "until Sat 2026-03-07 04:00"},
		"over midnight, after":            {[]gate.Hours{night}, "2026-03-07T03:59:00Z", gate.Open, "until Sat 2026-03-07 04:00"},
		"over midnight, the next night":   {[]gate.Hours{night}, "2026-03-07T23:00:00Z", gate.Unknown, "until Fri 2026-03-13 22:00"},
		"over midnight, the morning":      {[]gate.Hours{night}, "2026-03-06T03:00:00Z", gate.Unknown, "until Fri 2026-03-06 22:00"},
		"one of several":                  {[]gate.Hours{night, office("mon")}, "2026-03-02T12:00:00+01:00", gate.Open, "fri 22:00-04:00 UTC or mon 09:00-17:00 Europe/Berlin, until Mon"},
		"two that meet are one":           {[]gate.Hours{office("mon"), {Days: []string{"mon"}, From: "17:00", To: "24:00", Zone: "Europe/Berlin"}}, "2026-03-02T12:00:00+01:00", gate.Open, "until Tue 2026-03-03 00:00"},
		"always":                          {[]gate.Hours{{From: "00:00", To: "24:00"}}, "2026-03-02T12:00:00Z", gate.Open, "within daily 00:00-24:00 UTC"},
		"before summer time":              {[]gate.Hours{office("sun")}, "2026-03-22T07:30:00Z", gate.Unknown, "until Sun 2026-03-22 09:00 CET"},
		"after summer time":               {[]gate.Hours{office("sun")}, "2026-03-29T07:30:00Z", gate.Open, "until Sun 2026-03-29 17:00 CEST"},
		"waiting across it":               {[]gate.Hours{office("sun")}, "2026-03-28T12:00:00Z", gate.Unknown, "until Sun 2026-03-29 09:00 CEST"},
		"the hour that is left out":       {[]gate.Hours{{Days: []string{"sun"}, From: "02:00", To: "03:00", Zone: "Europe/Berlin"}}, "2026-03-28T12:00:00Z", gate.Unknown, "until Sun 2026-04-05 02:00 CEST"},
		"it ends within the one left out": {[]gate.Hours{{Days: []string{"sun"}, From: "01:00", To: "02:30", Zone: "Europe/Berlin"}}, "2026-03-29T00:30:00Z", gate.Open, "until Sun 2026-03-29 03:00 CEST"},
		"the hour that comes twice":       {[]gate.Hours{{Days: []string{"sun"}, From: "02:00", To: "03:00", Zone: "Europe/Berlin"}}, "2026-10-25T00:30:00Z", gate.Open, "until Sun 2026-10-25 03:00 CET"},
		"and is there twice":              {[]gate.Hours{{Days: []string{"sun"}, From: "02:00", To: "03:00", Zone: "Europe/Berlin"}}, "2026-10-25T01:30:00Z", gate.Open, "until Sun 2026-10-25 03:00 CET"},
		"no window is never open":         {nil, "2026-03-02T12:00:00Z", gate.Unknown, "no window"},
		"what cannot be read is not open": {[]gate.Hours{{From: "00:00", To: "24:00", Zone: "Mars/Olympus"}}, "2026-03-02T12:00:00Z", gate.Unknown, "Mars/Olympus"},
	} {
		t.Run(name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, tt.at)
			if err != nil {
				t.Fatal(err)
			}
			v := gate.Judge(gate.Within, gate.Question{Windows: tt.windows}, gate.Evidence{At: at})
			if v.State != tt.want || !strings.Contains(v.Reason, tt.reason) || v.Asks {
				t.Errorf("%s: %s, want %s: %s", v.State, v.Reason, tt.want, tt.reason)
			}
		})
	}
	if v := gate.Judge(gate.Within, gate.Question{Windows: []gate.Hours{office()}}, gate.Evidence{}); v.State != gate.Unknown {
		t.Errorf("without a time: %+v", v)
	}
}

func TestHours_whatCannotBeReadIsNamed(t *testing.T) {
	for want, h := range map[string]gate.Hours{
		`"monday" is no day`:                  {Days: []string{"mon", "monday"}, From: "09:00", To: "17:00"},
		`from: "9" is no time of the day`:     {From: "9", To: "17:00"},
		`from: "24:00" is no time of the day`: {From: "24:00", To: "17:00"},
		`from: "" is no time of the day`:      {To: "17:00"},
		`to: "25:00" is no time of the day`:   {From: "09:00", To: "25:00"},
		`to: "9:00" is no time of the day`:    {From: "08:00", To: "9:00"},
		"no time at all":                      {From: "09:00", To: "09:00"},
		`"Berlin" is no time zone`:            {From: "09:00", To: "17:00", Zone: "Berlin"},
		"zone Local is another one":           {From: "09:00", To: "17:00", Zone: "Local"},
	} {
		if err := h.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", h, err, want)
		}
	}
	if err := office("MON", "sun").Check(); err != nil {
		t.Error(err)
	}
}
