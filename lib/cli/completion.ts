/** Completion scripts for shells, made from the commands and flags as they are, so that they never go stale. */
import { Argument, type Command, type Option } from 'commander';
import { type Io, printLines } from './io';

const SHELLS = ['bash', 'zsh'] as const;

/** `cones completion bash|zsh` */
export function addCompletion(program: Command, io: Io): void {
  program
    .command('completion')
    .description('Print what makes a shell complete the commands and flags of cones.')
    .addArgument(new Argument('<shell>', 'put source <(cones completion bash) into ~/.bashrc, or the same with zsh into ~/.zshrc').choices(SHELLS))
    .action((shell: (typeof SHELLS)[number]) => printLines(io, (shell === 'bash' ? bash : zsh)(program)));
}

interface Completed {
  readonly name: string;
  readonly description: string;
  readonly flags: readonly Option[];
  /** Values of the argument; of all others, files. */
  readonly choices: readonly string[];
}

function commandsOf(program: Command): Completed[] {
  const help = program.createHelp();
  return program.commands.map((command) => ({
    name: command.name(),
    description: command.description(),
    flags: help.visibleOptions(command).filter(({ long }) => long),
    choices: command.registeredArguments.flatMap(({ argChoices = [] }) => argChoices),
  }));
}

const takesValue = ({ required, optional }: Option): boolean => required || optional;
/** A word in single quotes, whatever is in it. */
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
const words = (list: readonly string[]): string => quoted(list.join(' '));

function bash(program: Command): string[] {
  const commands = commandsOf(program);
  const cases = commands.flatMap(({ name, flags, choices }) => {
    const valued = flags.filter(takesValue);
    const chosen = valued.filter(({ argChoices }) => argChoices);
    const names = (options: readonly Option[]) => options.flatMap(({ short, long }) => [short, long].filter((one) => one !== undefined));
    return [
      `    ${name})`,
      `      flags=${words(flags.map(({ long }) => long!))}`,
      `      valued=${words(names(valued))}`,
      `      values=${words(choices)}`,
      '      case "$previous" in',
      ...chosen.map((option) => `        ${names([option]).join('|')}) COMPREPLY=($(compgen -W ${words(option.argChoices!)} -- "$current")); return ;;`),
      '      esac ;;',
    ];
  });
  return [
    '_cones() {',
    '  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" flags= valued= values=',
    '  COMPREPLY=()',
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    COMPREPLY=($(compgen -W ${words([...commands.map(({ name }) => name), 'help', '--help', '--version'])} -- "$current"))`,
    '    return',
    '  fi',
    '  case "${COMP_WORDS[1]}" in',
    ...cases,
    '  esac',
    // A value that is a file, or that nobody can know.
    '  case " $valued " in *" $previous "*) COMPREPLY=($(compgen -f -- "$current")); return ;; esac',
    '  case "$current" in',
    '    -*) COMPREPLY=($(compgen -W "$flags" -- "$current")) ;;',
    '    *) if [ -n "$values" ]; then COMPREPLY=($(compgen -W "$values" -- "$current")); else COMPREPLY=($(compgen -f -- "$current")); fi ;;',
    '  esac',
    '}',
    'complete -o filenames -F _cones cones',
  ];
}

/** In the words of zsh's _arguments, whose own signs are `:`, `[`, `]` and the backslash. */
function zsh(program: Command): string[] {
  const commands = commandsOf(program);
  const plain = (text: string) => text.replace(/[\\:[\]]/g, String.raw`\$&`);
  const spec = (option: Option) => {
    const value = takesValue(option) ? `:value:${option.argChoices ? `(${option.argChoices.join(' ')})` : '_files'}` : '';
    return [option.short, option.long].filter((name) => name !== undefined).map((name) => quoted(`*${name}[${plain(option.description)}]${value}`));
  };
  return [
    '#compdef cones',
    '_cones() {',
    '  local -a commands',
    `  commands=(${commands.map(({ name, description }) => quoted(`${name}:${plain(description)}`)).join(' ')})`,
    '  if (( CURRENT == 2 )); then',
    "    _describe 'command' commands",
    '    return',
    '  fi',
    // The flags of a command are completed as if it were one of its own.
    '  local command="${words[2]}"',
    '  words=("${(@)words[2,-1]}")',
    '  (( CURRENT-- ))',
    '  case "$command" in',
    ...commands.flatMap(({ name, flags, choices }) => [
      `    ${name}) _arguments ${[...flags.flatMap(spec), quoted(`*:value:${choices.length > 0 ? `(${choices.join(' ')})` : '_files'}`)].join(' ')} ;;`,
    ]),
    '  esac',
    '}',
    // Read by `source`, or from a folder of functions.
    'if [ "$funcstack[1]" = "_cones" ]; then _cones "$@"; else compdef _cones cones; fi',
  ];
}
