package gate_test

import (
	"strings"
	"testing"

	"github.com/serin-mesh/serin/internal/gate"
)

func TestHooks_aNoShutsOnlyWhatHasMoved(t *testing.T) {
	answer := func(kind gate.HookKind, yes bool, missing string) gate.HookAnswer {
		return gate.HookAnswer{Name: "mine", Kind: kind, Yes: yes, Said: "403 Forbidden", Missing: missing}
	}
	for name, tt := range map[string]struct {
		gate    gate.Name
		answers []gate.HookAnswer
		want    gate.State
		waits   bool
		reason  string
	}{
		"yes":                        {gate.Wave, []gate.HookAnswer{answer(gate.WaveHook, true, "")}, gate.Open, false, "mine: 403"},
		"a no in the proof":          {gate.Wave, []gate.HookAnswer{answer(gate.WaveHook, true, ""), answer(gate.WaveHook, false, "")}, gate.Shut, false, "mine says no: 403 Forbidden"},
		"a no before it is waited":   {gate.ConfirmWave, []gate.HookAnswer{answer(gate.ConfirmWaveHook, false, "")}, gate.Unknown, true, "mine says no"},
		"before the start too":       {gate.ConfirmStart, []gate.HookAnswer{answer(gate.ConfirmStartHook, false, "")}, gate.Unknown, true, "mine says no"},
		"no answer opens nothing":    {gate.Wave, []gate.HookAnswer{answer(gate.WaveHook, true, "no answer in 10s")}, gate.Unknown, false, "no answer in 10s"},
		"and is not waited for":      {gate.ConfirmWave, []gate.HookAnswer{answer(gate.ConfirmWaveHook, true, "no answer in 10s")}, gate.Unknown, false, "no answer"},
		"nor beside a no":            {gate.ConfirmWave, []gate.HookAnswer{answer(gate.ConfirmWaveHook, false, ""), answer(gate.ConfirmWaveHook, false, "refused")}, gate.Unknown, false, "refused"},
		"still asked, beside a no":   {gate.ConfirmWave, []gate.HookAnswer{answer(gate.ConfirmWaveHook, false, ""), answer(gate.ConfirmWaveHook, false, gate.StillAsked)}, gate.Unknown, true, gate.StillAsked},
		"one of another kind is not": {gate.ConfirmWave, []gate.HookAnswer{answer(gate.WaveHook, true, "")}, gate.Unknown, false, "no hook of this kind"},
		"none":                       {gate.Wave, nil, gate.Unknown, false, "no hook of this kind"},
	} {
		t.Run(name, func(t *testing.T) {
			v := gate.Judge(tt.gate, gate.Question{}, gate.Evidence{Hooks: tt.answers})
			if v.State != tt.want || v.Waits != tt.waits || v.Asks || !strings.Contains(v.Reason, tt.reason) {
				t.Errorf("%+v", v)
			}
		})
	}
}
