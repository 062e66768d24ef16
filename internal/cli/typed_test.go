package cli //nolint:testpackage // what is said of a command line is not for others

import (
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
)

func TestTyped(t *testing.T) {
	for name, tt := range map[string]struct {
		args            []string
		typed, recorded string // recorded is as typed where it is empty
	}{
		"nothing is quoted that needs it not": {
			args: []string{"shop", "--namespace", "web", "--name=istio-base", "-y"}, typed: "serin do shop --name=istio-base --namespace=web --yes=true",
		},
		"a list is one flag for each": {
			args:  []string{"--ignore-check", "SRN1050,SRN1066", "--values", "a.yaml", "--values", "b.yaml"},
			typed: "serin do --ignore-check=SRN1050 --ignore-check=SRN1066 --values=a.yaml --values=b.yaml",
		},
		"an element with a comma is still one": {
			args: []string{"--values", `"a,b.yaml"`}, typed: `serin do --values='"a,b.yaml"'`,
		},
		"words that a shell would take apart are quoted": {
			args: []string{"it's", "--name=istio base", "--probe=http://h/?a=1&b=2"}, typed: `serin do 'it'\''s' --name='istio base' --probe='http://h/?a=1&b=2'`,
		},
		"an empty word":             {args: []string{"--name="}, typed: "serin do --name=''"},
		"a token is nowhere":        {args: []string{"--token", "T0PSECRET", "--name=x"}, typed: "serin do --name=x"},
		"a password in an address":  {args: []string{"--server", "https://erin:T0PSECRET@h:6443"}, typed: "serin do --server=https://erin:xxxxx@h:6443"},
		"what values are set to":    {args: []string{"--set", "a={x,y}", "--set", "p=q r", "--set-string", "k=5", "--name=x"}, typed: "serin do --name=x --set='a={x,y}' --set='p=q r' --set-string=k=5", recorded: "serin do --name=x"},
		"a quote within a CSV word": {args: []string{"--values", `"say ""a"",b"`}, typed: `serin do --values='"say ""a"",b"'`},
	} {
		t.Run(name, func(t *testing.T) {
			var typedLine, recordedLine string
			c := &cobra.Command{Use: "do", RunE: func(c *cobra.Command, args []string) error {
				typedLine, recordedLine = typed(c, args), recorded(c, args)
				return nil
			}}
			c.Flags().StringSlice("values", nil, "")
			c.Flags().StringSlice("ignore-check", nil, "")
			c.Flags().StringArray("set", nil, "")
			c.Flags().StringArray("set-string", nil, "")
			c.Flags().String("name", "", "")
			c.Flags().String("probe", "", "")
			c.Flags().BoolP("yes", "y", false, "")
			root := &cobra.Command{Use: "serin"}
			genericclioptions.NewConfigFlags(true).AddFlags(root.PersistentFlags())
			root.AddCommand(c)
			root.SetArgs(append([]string{"do"}, tt.args...))
			if err := root.Execute(); err != nil {
				t.Fatal(err)
			}
			if tt.recorded == "" {
				tt.recorded = tt.typed
			}
			if typedLine != tt.typed {
				t.Errorf("typed:\n got %s\nwant %s", typedLine, tt.typed)
			}
			if recordedLine != tt.recorded {
				t.Errorf("recorded:\n got %s\nwant %s", recordedLine, tt.recorded)
			}
		})
	}
}
