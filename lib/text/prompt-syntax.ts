/**
 * How prompts are read. 'plain': all of a text is its words, as in diffusers; what is longer than the text encoder reads is cut off.
 * 'weighted': the language of stable-diffusion-webui, `(word:1.3)`, `[word]`, BREAK, `<lora:name:0.8>`, in as many chunks as it takes.
 */
export const PROMPT_SYNTAXES = ['plain', 'weighted'] as const;
export type PromptSyntax = (typeof PROMPT_SYNTAXES)[number];
