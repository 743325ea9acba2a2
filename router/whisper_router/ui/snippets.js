// How other programs are told of this server. Pure.

const lines = (...parts) => parts.join("\n");

/** Quote for a POSIX shell. */
const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A string as Python and JavaScript both read it. */
const string = JSON.stringify;

function curl({ base, model, key }) {
  return lines(
    `curl ${shell(`${base}/audio/transcriptions`)} \\`,
    `  -H ${shell(`Authorization: Bearer ${key}`)} \\`,
    `  --form-string ${shell(`model=${model}`)} \\`,
    "  -F response_format=text \\",
    "  -F file=@speech.mp3",
  );
}

function python({ base, model, key }) {
  return lines(
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${string(base)}, api_key=${string(key)})`,
    'with open("speech.mp3", "rb") as file:',
    `    answer = client.audio.transcriptions.create(model=${string(model)}, file=file)`,
    "print(answer.text)",
  );
}

function javascript({ base, model, key }) {
  return lines(
    "const form = new FormData();",
    `form.append("model", ${string(model)});`,
    'form.append("file", file); // a File or a Blob',
    `const answer = await fetch(${string(`${base}/audio/transcriptions`)}, {`,
    '  method: "POST",',
    `  headers: { Authorization: ${string(`Bearer ${key}`)} },`,
    "  body: form,",
    "});",
    "console.log((await answer.json()).text);",
  );
}

/** An environment file is quoted where its value needs it. */
const setting = (text) => (/^[\w./:@+-]*$/.test(text) ? text : shell(text));

function openWebUi({ base, model, key }) {
  return lines(
    "AUDIO_STT_ENGINE=openai",
    `AUDIO_STT_OPENAI_API_BASE_URL=${setting(base)}`,
    `AUDIO_STT_OPENAI_API_KEY=${setting(key)}`,
    `AUDIO_STT_MODEL=${setting(model)}`,
  );
}

function homeAssistant({ host, wyoming }) {
  if (wyoming) {
    return {
      title: "Home Assistant (Wyoming)",
      help:
        "Settings → Devices & services → Add integration → Wyoming Protocol. Then choose whisper-router as " +
        "Speech-to-text under Settings → Voice assistants.",
      text: lines(`Host: ${host}`, `Port: ${wyoming}`),
    };
  }
  return {
    title: "Home Assistant",
    help:
      "It speaks the Wyoming protocol, which is off here, as far as this key may know. Switch it on in the " +
      "server's configuration, restart the server, and add the integration Wyoming Protocol; or give an " +
      "integration that speaks the OpenAI API the base URL above.",
    text: lines("[wyoming]", 'uri = "tcp://0.0.0.0:10300"', "insecure_lan = true"),
  };
}

/**
 * Return examples `{id, title, help, text}`.
 *
 * `key` is what is printed for the key, `wyoming` the port of Home Assistant's protocol or null.
 */
export function snippets(about) {
  return [
    {
      id: "curl",
      title: "curl",
      help: "A file, as text. Other formats: srt, vtt, json, verbose_json …",
      text: curl(about),
    },
    { id: "python", title: "Python", help: "The official library: pip install openai", text: python(about) },
    {
      id: "javascript",
      title: "JavaScript",
      help: "From a page of another site only if server.cors_origins names it.",
      text: javascript(about),
    },
    {
      id: "openwebui",
      title: "Open WebUI",
      help: "Admin panel → Settings → Audio → Speech-to-text; or in its environment:",
      text: openWebUi(about),
    },
    { id: "homeassistant", ...homeAssistant(about) },
  ];
}
